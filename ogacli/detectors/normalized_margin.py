"""Normalized margin: the highest probability of another class less that of the given label."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._label_quality import LabelQualityOptions


@detectors.register
class NormalizedMargin(LabelQualityOptions):
    """Score = (1 + highest probability of another label - that of the given one) / 2.

    Northcutt et al., JAIR 2021, arXiv 1911.00068.
    """

    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """From 0 to 1; 1 - p is computed as the sum of the others, which does not cancel."""
        found = others.exp()
        return (found.sum(1) + found.max(1).values) / 2
