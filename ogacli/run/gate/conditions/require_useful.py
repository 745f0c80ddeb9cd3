"""The checkpoint is one whose flags can be trusted."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import skipped
from ogacli.run.gate.outcome import Outcome


@conditions.register
class RequireUseful(Condition):
    """Off by default."""

    order: ClassVar[int] = 10

    require_useful: bool = False
    """Only a checkpoint that the diagnosis calls ``useful`` passes; one that is ``memorised``, ``fresh`` or
    ``uncertain`` does not."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the verdict of the run's diagnosis."""
        name, found = "require_useful", run.summary.diagnosis
        if not self.require_useful:
            return None
        if found.verdict is None:
            return skipped(name, "there are no classes to diagnose the checkpoint by")
        return Outcome(
            name,
            found=f"{found.verdict} checkpoint",
            allowed="useful",
            status="passed" if found.verdict == "useful" else "failed",
            detail=found.reason,
        )
