"""Not too many samples are near-duplicates of others."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most_found
from ogacli.run.gate.outcome import Outcome


@conditions.register
class MaxNearDuplicates(Condition):
    """A limit on the samples with nearly the same inputs as another one."""

    order: ClassVar[int] = 54

    max_near_duplicates: Limit = None
    """Samples that are left out where one of each group of near-duplicates is kept: a share of all, or a
    count. It fails where the scan did not look for them."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the column ``near_duplicate_of``."""
        counts = run.counts
        return at_most_found(
            "max_near_duplicates",
            counts.near_duplicates,
            counts.samples,
            self.max_near_duplicates,
            needs="`look_for: near_duplicates`",
        )
