"""The results of several checkpoints, as weighted sums and votes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.feed import NOT_FINITE
from ogacli.scan.collected.columns import tensors_in
from ogacli.scan.collected.rows import Rows
from ogacli.verdict.findings import Findings, TrueClass


class Totals:
    """Weighted sums over the checkpoints that are done; a row counts those that scored it.

    The predicted class is a majority vote in which each checkpoint's prediction weighs its probability. It is
    counted by the algorithm of Boyer and Moore: exact where one class has more than half of the votes, in
    memory that does not grow with the checkpoints; ``lead`` is by how much the winner is ahead of all
    others. The most probable true class is voted for in the same way; its confidence is the mean over the
    checkpoints, of which those with another class add nothing.
    """

    def __init__(self, n: int, detectors: int, device: torch.device) -> None:
        self.scores = torch.zeros(detectors, n, dtype=torch.float64, device=device)
        self.predictions = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.lead = torch.zeros(n, device=device)
        self.true_class = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.true_class_lead = torch.zeros(n, device=device)
        self.confidence = torch.zeros(n, device=device)
        self.probability = torch.zeros(n, device=device)
        self.entropy = torch.zeros(n, device=device)
        self.weight = torch.zeros(n, dtype=torch.float64, device=device)
        self.several = torch.zeros((), dtype=torch.bool)
        """Whether some row was scored by more than one checkpoint."""
        self.quarantined: dict[int, str] = {}

    def add(self, found: Rows, rows: Int64[Tensor, " m"], weight: float = 1.0) -> None:
        """Add one more checkpoint's results for these rows."""
        self.quarantined |= found.quarantined
        here = rows.to(self.scores.device)
        self.several |= (self.weight[here] > 0).any().cpu()
        self.weight[here] += weight
        self.scores[:, here] += weight * found.scores[:, here]
        self.probability[here] += weight * found.probability[here]
        self.entropy[here] += weight * found.entropy[here]
        votes = weight * found.prediction_probability[here]
        _vote(self.predictions, self.lead, here, found.predictions[here], votes)
        before, voted = self.true_class[here], found.true_class[here]
        votes = weight * found.confidence[here]
        _vote(self.true_class, self.true_class_lead, here, voted, votes)
        after = self.true_class[here]
        kept = torch.where(after == before, self.confidence[here], 0)
        self.confidence[here] = kept + torch.where(after == voted, votes.nan_to_num(0), 0)

    def findings(self, columns: Sequence[str]) -> Findings:
        """The means, on the CPU; a row that some checkpoint could not score is quarantined."""
        scores, weight = self.scores.cpu() / self.weight.cpu(), self.weight.cpu().float()
        lost = (~torch.isfinite(scores).all(0)).nonzero()[:, 0].tolist()
        scores[:, lost] = torch.nan
        predictions, true_class = self.predictions.cpu(), self.true_class.cpu()
        known = bool((true_class >= 0).any())
        return Findings(
            scores=dict(zip(columns, scores, strict=True)),
            predictions=predictions,
            prediction_probability=(self.lead.cpu() / weight).masked_fill(predictions < 0, torch.nan),
            probability=self.probability.cpu() / weight,
            quarantined={row: self.quarantined.get(row, NOT_FINITE) for row in lost},
            entropy=self.entropy.cpu() / weight,
            several=bool(self.several),
            true_class=TrueClass(true_class, self.confidence.cpu() / weight) if known else None,
        )

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        return tensors_in(self)


def _vote(
    leader: Int64[Tensor, " n"],
    lead: Float[Tensor, " n"],
    rows: Int64[Tensor, " m"],
    votes: Int64[Tensor, " m"],
    weights: Float[Tensor, " m"],
) -> None:
    """Count votes for rows, in place: a vote for another class than the leader reduces its lead."""
    same = votes == leader[rows]
    ahead = lead[rows] + torch.where(same, weights, -weights).nan_to_num(0)
    leader[rows] = torch.where(ahead < 0, votes, leader[rows])
    lead[rows] = ahead.abs()
