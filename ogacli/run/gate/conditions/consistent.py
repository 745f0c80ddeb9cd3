"""The run is as its scan wrote it: rows, digests and summary agree."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.outcome import Outcome

_SCAN = "scan again, and leave the files of the run directory as they are"


@conditions.register
class Consistent(Condition):
    """Always on: all other conditions rest on it."""

    order: ClassVar[int] = 0

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the digests in the scores, and by counting the rows; those of the baseline as well."""
        doubts = list(run.counts.doubts)
        if baseline is not None:
            doubts += [f"the baseline: {doubt}" for doubt in baseline.counts.doubts]
        return Outcome(
            "consistent",
            found=doubts[0] if doubts else f"{run.counts.samples:,} rows as written",
            allowed="no change",
            status="failed" if doubts else "passed",
            detail="; ".join([*doubts[1:], _SCAN]) if doubts else "",
        )
