"""Not too many samples are in another dataset as well."""

from typing import ClassVar

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most
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
        if self.max_leaks is None:
            return None
        if run.counts.leaks is None:
            return Outcome(
                "max_leaks",
                found="not compared with another dataset",
                allowed="a scan with a section `against`",
                status="failed",
            )
        return at_most("max_leaks", run.counts.leaks, run.counts.samples, self.max_leaks)
