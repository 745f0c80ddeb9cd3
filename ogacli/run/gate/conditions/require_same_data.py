"""The data are those of the baseline."""

from typing import ClassVar

from ogacli.base.wording import number
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.outcome import Outcome


@conditions.register
class RequireSameData(Condition):
    """Other data than the baseline's are told; they fail only on request."""

    order: ClassVar[int] = 100

    require_same_data: bool = False
    """With a baseline: fail where the data are not those of the baseline; otherwise it is only said."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the number of samples and by their ids, inputs and labels."""
        if baseline is None:
            return None
        now, before = run.counts, baseline.counts
        same = now.data == before.data
        others = "" if same else f", the baseline has {number(before.samples)}"
        return Outcome(
            "require_same_data",
            found=f"{number(now.samples)} samples{others}",
            allowed="the data of the baseline",
            status="passed" if same else "failed" if self.require_same_data else "warned",
            detail="" if same else "`oga diff BASELINE RUN` lists what is new, changed and gone",
        )
