"""Not too many samples are quarantined."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most
from ogacli.run.gate.outcome import Outcome
from ogacli.verdict.budget import Budget


@conditions.register
class MaxQuarantined(Condition):
    """A limit on the samples that could not be scored."""

    order: ClassVar[int] = 50

    max_quarantined: Limit = Budget(0.01)
    """Quarantined samples: a share of all, or a count."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the number of quarantined samples."""
        if self.max_quarantined is None:
            return None
        return at_most("max_quarantined", run.counts.quarantined, run.counts.samples, self.max_quarantined)
