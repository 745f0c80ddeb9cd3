"""Not many more samples are flagged than in the baseline."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Share, not_above
from ogacli.run.gate.outcome import Outcome


@conditions.register
class MaxFlaggedIncrease(Condition):
    """A limit on how much the flagged share may grow."""

    order: ClassVar[int] = 110

    max_flagged_increase: Share = None
    """With a baseline: how far the flagged share may be above the baseline's. Off by default, as a retrained
    checkpoint moves it too."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the flagged shares of both runs."""
        if baseline is None or self.max_flagged_increase is None:
            return None
        now, before = ((one.counts.flagged, one.counts.scored) for one in (run, baseline))
        return not_above("max_flagged_increase", now, before, self.max_flagged_increase)
