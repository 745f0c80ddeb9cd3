"""No class is emptied."""

from typing import Annotated, ClassVar

from pydantic import Field

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import quoted, skipped
from ogacli.run.gate.outcome import Outcome

_NAMED = 5
"""Classes named in a detail."""


@conditions.register
class MinLeftPerClass(Condition):
    """A limit on what trimming leaves of each given label."""

    order: ClassVar[int] = 45

    min_left_per_class: Annotated[int, Field(ge=1)] | None = 1
    """At least so many samples of each given label are neither flagged nor quarantined, where it has so many
    at all."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the class of which least is left."""
        name, least = "min_left_per_class", self.min_left_per_class
        if least is None:
            return None
        left = [
            (one.samples - one.flagged - one.quarantined, one) for one in run.counts.classes if one.samples
        ]
        if not left:
            return skipped(name, "no class to judge")
        short = sorted(
            ((count, one) for count, one in left if count < min(least, one.samples)), key=lambda pair: pair[0]
        )
        count, worst = short[0] if short else min(left, key=lambda pair: pair[0])
        told = short or [(count, worst)]
        named = [f"{quoted(one.name)}: {count:,} of {one.samples:,}" for count, one in told]
        return Outcome(
            name,
            found=f"{count:,} of {worst.samples:,} left",
            allowed=f"at least {least:,}",
            status="failed" if short else "passed",
            detail=f"left of the class {wording.listed(named, _NAMED)}",
        )
