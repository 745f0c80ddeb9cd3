"""How undecided the model is, the more so the less it believes the given label."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._unfitted import LabelQualityOptions

_LEAST = 1e-300
"""The least probability of the given label that is divided by."""


@detectors.register
class ConfidenceWeightedEntropy(LabelQualityOptions):
    """Score = 1 - log(1 + x) / x, where x = entropy / log k / probability of the given label.

    As in cleanlab, but that nothing is clipped: where the model is so sure that cleanlab clips (at 1e-6), the
    order turns over there, and a label that is certainly right gets the worst quality.
    """

    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """From 0 to 1."""
        # 0 log 0 = 0, but 0 * -inf is not.
        entropy = -(logs.exp() * logs.clamp_min(-1e4)).sum(1) / math.log(logs.shape[1])
        x = entropy / given.exp().clamp_min(_LEAST)
        # Where the difference below would cancel, its series.
        return torch.where(x < 1e-4, x / 2 - x.square() / 3, 1 - x.log1p() / x.clamp_min(1e-4))
