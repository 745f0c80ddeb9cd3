"""Not too many samples are in another dataset as well."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most_found
from ogacli.run.gate.outcome import Outcome


@conditions.register
class MaxLeaks(Condition):
    """A limit on the samples that are also in the dataset ``against``, such as the test split."""

    order: ClassVar[int] = 55

    max_leaks: Limit = None
    """Samples that the dataset ``against`` of the scan has as well, or nearly so: a share of all, or a
    count. It fails where the scan compared with no other dataset."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the column ``leaks``."""
        counts = run.counts
        return at_most_found(
            "max_leaks", counts.leaks, counts.samples, self.max_leaks, needs="a section `against`"
        )
