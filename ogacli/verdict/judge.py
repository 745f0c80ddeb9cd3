"""``Verdict``: ranks, flags, reasons and suggested labels, a row a sample.

In: ``Findings``, the given labels, a budget. Out: a ``Verdict``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.verdict.budget import Budget, flag, ranking
from ogacli.verdict.estimate import Estimate, estimate
from ogacli.verdict.findings import Findings
from ogacli.verdict.protection import Protection, protected
from ogacli.verdict.reasons import reasons


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on each sample."""

    findings: Findings
    score: Float[Tensor, " n"]
    rank: Int64[Tensor, " n"]
    """1 = most anomalous; 0 where the sample is quarantined."""
    flagged: Bool[Tensor, " n"]
    held_back: Bool[Tensor, " n"]
    """Within the budget, but not flagged, so that its class is not trimmed away."""
    suggested_label: Int64[Tensor, " n"]
    """The most probable class where it differs from the given label; -1 elsewhere."""
    budget: Budget
    estimate: Estimate | None
    """The share of wrong labels; None without classes, or where it is unknown."""
    cut: float | None
    """The lowest flagged score; None where nothing is flagged."""

    @property
    def agreement(self) -> Float[Tensor, " n"]:
        """The share of the detectors that flag a sample; each flags as many samples as the budget allows."""
        count = int((self.flagged | self.held_back).sum())
        return torch.stack([flag(score, count) for score in self.findings.scores.values()]).double().mean(0)

    @property
    def reason(self) -> Int64[Tensor, " n"]:
        """For each sample an index into ``REASONS``: the reason if it is flagged."""
        blank = self.findings.blank
        return torch.from_numpy(
            reasons(
                differs=(self.suggested_label >= 0).numpy(),
                confidence=self.findings.most_probable.confidence.numpy(),
                probability=self.findings.given_label_probability.numpy(),
                duplicate=self.findings.duplicates.numpy(),
                blank=(torch.zeros_like(self.flagged) if blank is None else blank).numpy(),
            )
        )

    @property
    def scored(self) -> int:
        """How many samples have a score."""
        return len(self.score) - len(self.findings.quarantined)

    def ranked(self) -> Int64[Tensor, " m"]:
        """The rows of the scored samples, most anomalous first."""
        return ranking(self.score)[: self.scored]


def judge(
    findings: Findings, labels: Int64[Tensor, " n"] | None, budget: Budget, protect: Protection = "off"
) -> Verdict:
    """Apply the budget to the scores of the first detector.

    Args:
        findings: The results of the scan.
        labels: The given class of each sample; None where samples do not have one class each.
        budget: How many samples to flag.
        protect: What each class keeps; or ``off``.
    """
    score = next(iter(findings.scores.values()))
    scored = len(score) - len(findings.quarantined)
    classes = findings.most_probable.classes
    if labels is None:
        differs, wrong = torch.zeros(len(score), dtype=torch.bool), None
    else:
        differs = (classes != labels) & ~score.isnan() & (classes >= 0)
        wrong = estimate(findings, labels)
    flagged = within = flag(score, budget.count(scored, wrong.count(scored) if wrong else 0))
    rank = torch.zeros(len(score), dtype=torch.int64)
    rank[ranking(score)[:scored]] = torch.arange(1, scored + 1)
    if labels is not None:
        flagged = torch.from_numpy(protected(within.numpy(), rank.numpy(), labels.numpy(), protect))
    return Verdict(
        findings=findings,
        score=score,
        rank=rank,
        flagged=flagged,
        held_back=within & ~flagged,
        suggested_label=torch.where(differs, classes, -1),
        budget=budget,
        estimate=wrong,
        cut=float(score[flagged].min()) if flagged.any() else None,
    )
