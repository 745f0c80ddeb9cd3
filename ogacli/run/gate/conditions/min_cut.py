"""No label is flagged that is more probably right than wrong."""

from typing import Annotated, ClassVar

from pydantic import Field

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import skipped
from ogacli.run.gate.outcome import Outcome
from ogacli.verdict.budget import Budget


@conditions.register
class MinCut(Condition):
    """A limit on the lowest flagged score, where scores are probabilities of a wrong label."""

    order: ClassVar[int] = 47

    min_cut: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    """The lowest flagged score, where it is the probability of a wrong label (``latent_label``). A run below
    flags labels that are more probably right than wrong, as its budget is too large."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the cut; skipped for other scores, and where flagged samples are only to be looked at."""
        name, counts = "min_cut", run.counts
        if self.min_cut is None:
            return None
        if not counts.of_labels:
            return skipped(name, "scores are no probabilities of a wrong label")
        if counts.cut is None:
            return skipped(name, "nothing is flagged")
        if Budget.parse(run.summary.budget).review:
            return skipped(name, "flagged samples are only to be looked at")
        right = wording.part(counts.probably_right, counts.flagged)
        below = counts.cut < self.min_cut
        return Outcome(
            name,
            found=f"{counts.cut:.3f}",
            allowed=f"at least {self.min_cut:g}",
            status="failed" if below else "passed",
            detail=f"flagged labels that are more probably right than wrong: {right}" if below else "",
        )
