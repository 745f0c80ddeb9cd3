"""How little the model believes the given label."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._unfitted import LabelQualityOptions


@detectors.register
class SelfConfidence(LabelQualityOptions):
    """Score = 1 - the model's probability of the given label (arXiv 1911.00068)."""

    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """The probabilities of the other labels, summed: 1 - p would cancel to 0 in confident samples."""
        return others.exp().sum(1)
