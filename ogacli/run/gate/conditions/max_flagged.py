"""Not too many samples are flagged."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most
from ogacli.run.gate.outcome import Outcome
from ogacli.verdict.budget import Budget


@conditions.register
class MaxFlagged(Condition):
    """A limit on the flagged samples."""

    order: ClassVar[int] = 30

    max_flagged: Limit = Budget(0.1)
    """Flagged samples: a share of the scored ones, or a count."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the number of flagged samples."""
        if self.max_flagged is None:
            return None
        return at_most("max_flagged", run.counts.flagged, run.counts.scored, self.max_flagged)
