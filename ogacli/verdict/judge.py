"""``Verdict``: ranks, flags, reasons and suggested labels, a row a sample.

In: ``Findings``, the given labels, a budget. Out: a ``Verdict``. Beside its columns, which hold one number a
sample each, this takes memory that does not grow with the number of samples.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ogacli.base.blocks import blocks, column
from ogacli.verdict.budget import Budget
from ogacli.verdict.estimate import Estimate, estimate
from ogacli.verdict.findings import Findings
from ogacli.verdict.protection import Protection, protected
from ogacli.verdict.ranks import flag, ranks
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
    votes: UInt8[Tensor, " n"]
    """How many of the detectors flag a sample; each flags as many samples as the budget allows."""
    budget: Budget
    estimate: Estimate | None
    """The share of wrong labels; None without classes, or where it is unknown."""
    cut: float | None
    """The lowest flagged score; None where nothing is flagged."""

    def suggests(self, rows: slice = slice(None)) -> Bool[Tensor, " m"]:
        """For which of some samples another label is suggested."""
        cells = self.findings.cells
        if cells is None:
            return self.suggested_label[rows] >= 0
        return cells.part(rows).doubted.any(1) & ~self.score[rows].isnan()

    def confidence(self, rows: slice = slice(None)) -> Float[Tensor, " m"]:
        """The probability of the suggested label; where labels have cells, that the given one is wrong."""
        part = self.findings.part(rows)
        return part.most_probable.confidence if part.cells is None else part.cells.highest

    def reason(self, rows: slice = slice(None)) -> Int64[Tensor, " m"]:
        """For some samples an index into ``REASONS``: the reason if it is flagged."""
        part = self.findings.part(rows)
        nothing = torch.zeros_like(self.flagged[rows])
        blank = nothing if part.blank is None else part.blank
        picture = nothing.byte() if part.picture is None else part.picture
        near = part.near_duplicate_of
        return torch.from_numpy(
            reasons(
                differs=self.suggests(rows).numpy(),
                confidence=self.confidence(rows).numpy(),
                probability=part.given_label_probability.numpy(),
                duplicate=part.duplicates.numpy(),
                blank=blank.numpy(),
                picture=picture.numpy(),
                near_duplicate=None if near is None else near.numpy() >= 0,
                leaks=None if part.leaks is None else part.leaks.rows.numpy() >= 0,
                far=None if part.far is None else ~part.far.isnan().numpy(),
            )
        )

    @property
    def scored(self) -> int:
        """How many samples have a score."""
        return len(self.score) - len(self.findings.quarantined)

    def first(self, count: int, *, flagged: bool = False) -> Int64[Tensor, " m"]:
        """The rows of the most anomalous samples, in order; of the flagged ones where wanted."""
        rows, places = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
        for block in blocks(len(self.rank)):
            rank = self.rank[block]
            known = (rank > 0) & self.flagged[block] if flagged else rank > 0
            here = known.nonzero()[:, 0]
            places = torch.cat([places, rank[here]])
            lowest = places.topk(min(count, len(places)), largest=False).indices
            places, rows = places[lowest], torch.cat([rows, block.start + here])[lowest]
        return rows


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
    score, *others = findings.scores.values()
    scored = len(score) - len(findings.quarantined)
    wrong = None if labels is None else estimate(findings, labels)
    if findings.cells is not None:
        wrong = findings.cells.estimate(findings.scored, held_out=findings.held_out, several=findings.several)
    count = budget.count(scored, wrong.count(scored) if wrong else 0)
    rank = ranks(score)
    flagged = within = _up_to(rank, count)
    if labels is not None:
        flagged = torch.from_numpy(protected(within.numpy(), rank.numpy(), labels.numpy(), protect))
    votes = within.to(torch.uint8)
    for other in others:
        votes += flag(other, int(within.count_nonzero()))
    return Verdict(
        findings=findings,
        score=score,
        rank=rank,
        flagged=flagged,
        held_back=within & ~flagged,
        suggested_label=_suggested(findings, labels),
        votes=votes,
        budget=budget,
        estimate=wrong,
        cut=_lowest(score, flagged),
    )


def _lowest(score: Float[Tensor, " n"], flagged: Bool[Tensor, " n"]) -> float | None:
    """The lowest flagged score; None where nothing is flagged."""
    parts = [score[block][flagged[block]] for block in blocks(len(score)) if flagged[block].any()]
    return min((float(part.min()) for part in parts), default=None)


def _up_to(rank: Int64[Tensor, " n"], count: int) -> Bool[Tensor, " n"]:
    found = torch.zeros(len(rank), dtype=torch.bool)
    for block in blocks(len(rank)):
        found[block] = (rank[block] > 0) & (rank[block] <= count)
    return found


def _suggested(findings: Findings, labels: Int64[Tensor, " n"] | None) -> Int64[Tensor, " n"]:
    """The most probable class where it differs from the given label; -1 elsewhere."""
    score, classes = next(iter(findings.scores.values())), findings.most_probable.classes
    found = torch.from_numpy(column(len(score), np.int64, -1))
    if labels is None:
        return found
    for block in blocks(len(score)):
        some = classes[block]
        differs = (some != labels[block]) & ~score[block].isnan() & (some >= 0)
        found[block] = torch.where(differs, some, -1)
    return found
