"""Not too many samples of any one class are flagged."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import ClassCondition, conditions
from ogacli.run.gate.limits import Limit, LimitedClass, classes_at_most, plain
from ogacli.run.gate.outcome import Outcome
from ogacli.verdict.budget import Budget


@conditions.register
class MaxFlaggedPerClass(ClassCondition):
    """A limit on the flagged samples of each given label."""

    order: ClassVar[int] = 40

    max_flagged_per_class: Limit = Budget(0.3)
    """Flagged samples of any one given label: a share of its scored ones, or a count."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the class that is furthest above its limit."""
        limit = self.max_flagged_per_class
        if limit is None:
            return None
        classes = [LimitedClass.under(one, limit) for one in run.counts.classes]
        text = plain(limit.value) if isinstance(limit.value, float) else "in any one class"
        return classes_at_most("max_flagged_per_class", classes, text, self.min_class_samples)
