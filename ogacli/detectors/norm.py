"""What ``l1`` and ``l2`` share: the norm of a sample's gradient as its score, in the loss's units."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.detectors import Detector, LayeredOptions, Needs
from ogacli.gradients import GradientBatch


class NormOptions(LayeredOptions):
    """The options of ``l1`` and ``l2``."""

    order: ClassVar[int]
    per_class: bool = False
    """Rank within each given label: the score is then the share of that label's samples whose norm is no
    larger, from 0 to 1."""

    @property
    def column(self) -> str:
        """The detector's name, followed by ``per_class`` where it ranks within each label."""
        return super().column + ("_per_class" if self.per_class else "")

    def detector(self) -> "Norm":
        """A detector that needs no fitting."""
        return Norm(self.order, self.per_class)


class Norm(Detector):
    """Scores a sample by the L1 (``order=1``) or L2 (``order=2``) norm of its gradient."""

    def __init__(self, order: int, per_class: bool) -> None:
        self.order = order
        self.per_class = per_class

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """The norm."""
        return Needs(norms=(self.order,))

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The norms, float64."""
        return batch.norm(self.order)

    @property
    def finishes(self) -> bool:
        """Only ranks need all scores."""
        return self.per_class

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The norms themselves, or their ranks within each label."""
        return ranks_within(scores, labels) if self.per_class else scores


def ranks_within(scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """For each sample the share of its label's samples whose score is no larger."""
    ranks = torch.empty_like(scores)
    for label in torch.unique(labels).tolist():
        here = labels == label
        own = scores[here]
        ranks[here] = torch.searchsorted(own.sort().values, own, right=True).to(scores.dtype) / len(own)
    return ranks
