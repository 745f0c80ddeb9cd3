"""Not many more samples of any one class are flagged than in the baseline."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import ClassCondition, conditions
from ogacli.run.gate.limits import LimitedClass, Share, capped, classes_at_most, listed, plain
from ogacli.run.gate.outcome import Outcome


@conditions.register
class MaxClassIncrease(ClassCondition):
    """A limit on how much the flagged share of each given label may grow."""

    order: ClassVar[int] = 120

    max_class_increase: Share = None
    """With a baseline: how far the flagged share of any one given label may be above the baseline's.
    Off by default, as a retrained checkpoint moves it too."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the class that is furthest above its limit; classes with few samples before are left out."""
        tolerance = self.max_class_increase
        if baseline is None or tolerance is None:
            return None
        known = {one.name: one for one in baseline.counts.classes}
        classes, new = [], []
        for one in run.counts.classes:
            old = known.get(one.name)
            scored = 0 if old is None else old.samples - old.quarantined
            if old is None or scored < self.min_class_samples:
                new += [one.name] * (one.samples > 0)
            else:
                classes.append(LimitedClass.under(one, capped(old.flagged / scored + tolerance)))
        text = f"the baseline's share + {plain(tolerance)}"
        notes = [f"too few in the baseline: {listed(new)}"] if new else []
        return classes_at_most("max_class_increase", classes, text, self.min_class_samples, notes)
