"""Confidence-weighted entropy: the entropy of the prediction over the probability of the given label."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._label_quality import LabelQualityOptions

_LEAST = 1e-300
"""Lower bound of the probability of the given label, which is divided by."""


@detectors.register
class ConfidenceWeightedEntropy(LabelQualityOptions):
    """Score = 1 - log(1 + x) / x, where x = entropy / log k / probability of the given label.

    This is 1 - cleanlab's label quality of that name, without cleanlab's clipping of x at 1e-6: where the
    model is so sure that cleanlab clips, the order is reversed, and a label that is certainly right gets the
    worst quality.
    """

    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """From 0 to 1."""
        # 0 log 0 = 0, but 0 * -inf is not.
        entropy = -(logs.exp() * logs.clamp_min(-1e4)).sum(1) / math.log(logs.shape[1])
        x = entropy / given.exp().clamp_min(_LEAST)
        # For small x the difference would cancel: its Taylor series.
        return torch.where(x < 1e-4, x / 2 - x.square() / 3, 1 - x.log1p() / x.clamp_min(1e-4))
