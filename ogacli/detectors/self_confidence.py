"""Self-confidence: the predicted probability of the given label."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._label_quality import LabelQualityOptions


@detectors.register
class SelfConfidence(LabelQualityOptions):
    """Score = 1 - the predicted probability of the given label.

    Northcutt et al., JAIR 2021, arXiv 1911.00068.
    """

    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """From 0 to 1; 1 - p is computed as the sum of the others, which does not cancel."""
        return others.exp().sum(1)
