"""Enough samples have a score."""

from typing import Annotated, ClassVar

from pydantic import Field

from ogacli.base.wording import number
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.outcome import Outcome


@conditions.register
class MinSamples(Condition):
    """Always on."""

    order: ClassVar[int] = 20

    min_samples: Annotated[int, Field(ge=0)] = 1
    """At least so many samples must have a score."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the number of scored samples."""
        scored = run.counts.scored
        return Outcome(
            "min_samples",
            found=f"{number(scored)} scored",
            allowed=f"at least {number(self.min_samples)}",
            status="passed" if scored >= self.min_samples else "failed",
        )
