"""The norm of a sample's gradient as its score, in the loss's units."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.detectors import LayeredOptions
from ogacli.gradients import GradientBatch


class NormOptions(LayeredOptions):
    """The options of ``l1`` and ``l2``."""

    order: ClassVar[int]
    per_class: bool = False
    """Rank within each given label: the score is then the share of that label's samples whose norm is no
    larger, from 0 to 1."""

    @property
    def column(self) -> str:
        """Apart from the one that compares all samples."""
        return super().column + ("_per_class" if self.per_class else "")

    def detector(self) -> "Norm":
        """A detector that needs no fitting."""
        return Norm(self.order, self.per_class)


class Norm:
    """Scores a sample by the L1 or L2 norm of its gradient."""

    def __init__(self, order: int, per_class: bool) -> None:
        self.order = order
        self.per_class = per_class

    def fit_size(self, n: int) -> int:
        """None."""
        return 0

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Nothing to fit."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The norms."""
        return batch.norm(self.order)

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The norms themselves, or their ranks within each label."""
        return ranks_within(scores, labels) if self.per_class else scores

    def state(self) -> dict[str, Tensor]:
        """Nothing was fitted."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to restore."""


def ranks_within(scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """For each sample the share of its label's samples whose score is no larger."""
    ranks = torch.empty_like(scores)
    for label in torch.unique(labels).tolist():
        here = labels == label
        own = scores[here]
        ranks[here] = torch.searchsorted(own.sort().values, own, right=True).to(scores.dtype) / len(own)
    return ranks
