"""Label noise of samples with any number of classes: each class is a binary latent label.

In: logits and given labels, 0 or 1 for each class. Out: ``PresenceNoise``, which gives the probability that
a class is wrongly given or forgotten.

A class c is present (t = 1) with the probability sigmoid(s z_c + b_c). It is given although absent with the
rate g_c, and left out although present with the rate f_c. Sharpness s, biases and rates maximise the
likelihood of the given labels, by EM with one Newton step for s and b in each M step. The rates of a class
are shrunk to those of all classes, so that rare classes have them too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields

_STEPS = 200
"""Most iterations of EM."""
_CLOSE = 1e-4
"""EM has converged when sharpness and pooled rates change by less."""
_POOL = 1000.0
"""Samples by whose weight the rates of a class are those of all classes."""
_RIDGE = 10.0
"""Pulls the bias of a class to 0, as so many samples of the largest variance would."""
_SHARPEST = 100.0
_MOST = 0.5
"""Upper bound of the rates."""
_LARGEST_BIAS = 5.0


@dataclass(frozen=True, slots=True)
class PresenceNoise(TensorFields):
    """The fitted parameters; float64."""

    sharpness: Float[Tensor, ""]
    """At least 1."""
    bias: Float[Tensor, " k"]
    given: Float[Tensor, " k"]
    """Rate at which a class is given although it is absent."""
    forgotten: Float[Tensor, " k"]
    """Rate at which a class is left out although it is present."""

    @classmethod
    def fitted(cls, logits: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]) -> "PresenceNoise":
        """Fit by EM; O(n k) an iteration.

        Args:
            logits: Predictions, best those of a model that was not trained on these labels.
            labels: 0 or 1.
        """
        z, y = finite(logits), labels.double()
        few = z.new_full((z.shape[1],), 0.05)
        found, pooled = cls(z.new_ones(()), torch.zeros_like(few), few, few), (0.05, 0.05)
        for _ in range(_STEPS):
            before, last = found, pooled
            prior = (before.sharpness * z + before.bias).sigmoid()
            present = before._present(prior, y)
            given, all_given = _rates((1 - present) * y, 1 - present)
            forgotten, all_forgotten = _rates(present * (1 - y), present)
            sharpness = _stepped(before.sharpness, present - prior, prior, z)
            prior = (sharpness * z + before.bias).sigmoid()
            slope = (present - prior).sum(0) - _RIDGE * before.bias
            bias = before.bias + slope / ((prior * (1 - prior)).sum(0) + _RIDGE)
            found = cls(sharpness, bias.clamp(-_LARGEST_BIAS, _LARGEST_BIAS), given, forgotten)
            pooled = (all_given, all_forgotten)
            moved = max(abs(now - then) for now, then in zip(pooled, last, strict=True))
            if moved < _CLOSE and abs(float(sharpness / before.sharpness) - 1) < _CLOSE:
                break
        return found

    def wrong(self, logits: Float[Tensor, "b k"], labels: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The probability that a class is wrongly given (label 1) or forgotten (label 0)."""
        y = labels.double()
        present = self._present((self.sharpness * finite(logits) + self.bias).sigmoid(), y)
        return torch.where(y > 0, 1 - present, present)

    def _present(self, prior: Float[Tensor, "b k"], y: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The probability that each class is present, given the label."""
        if_present = torch.where(y > 0, 1 - self.forgotten, self.forgotten)
        if_absent = torch.where(y > 0, self.given, 1 - self.given)
        joint = prior * if_present
        return joint / (joint + (1 - prior) * if_absent)


def finite(logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """In float64; a logit of infinity is as certain as 50."""
    return logits.double().clamp(-50.0, 50.0)


def _rates(wrong: Float[Tensor, "n k"], of: Float[Tensor, "n k"]) -> tuple[Float[Tensor, " k"], float]:
    """The share of ``wrong`` in ``of``: of each class, shrunk to that of all, and of all."""
    pooled = (wrong.sum() + 0.5) / (of.sum() + 1)
    rates = (wrong.sum(0) + _POOL * pooled) / (of.sum(0) + _POOL)
    return rates.clamp(1e-6, _MOST), float(pooled)


def _stepped(sharpness: Tensor, slope: Tensor, prior: Tensor, z: Tensor) -> Tensor:
    """One Newton step of the sharpness, which at most halves or doubles it."""
    step = (slope * z).sum() / (prior * (1 - prior) * z.square()).sum().clamp_min(1e-12)
    return (sharpness + step).clamp(min=sharpness / 2, max=2 * sharpness).clamp(1.0, _SHARPEST)
