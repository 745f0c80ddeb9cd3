"""The share of wrong labels could be told."""

from typing import ClassVar

from ogacli.base.wording import percent
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.outcome import Outcome


@conditions.register
class RequireEstimate(Condition):
    """Where the share cannot be told, this is said; it fails only on request."""

    order: ClassVar[int] = 15

    require_estimate: bool = False
    """Fail where the share of wrong labels cannot be told; otherwise it is only said."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the estimate of the run; nothing where samples do not have one class each."""
        found = run.summary.estimate
        if found is None:
            return None
        between = f"{percent(found.low)} to {percent(found.high)}"
        told = f"unknown, {between}" if found.share is None else f"{percent(found.share)} wrong labels"
        known = found.share is not None
        return Outcome(
            "require_estimate",
            found=told,
            allowed="a known share",
            status="passed" if known else "failed" if self.require_estimate else "warned",
            detail=found.reason,
        )
