"""Wrong targets of a regression: a mixture of three distributions of the given target.

In: predictions and given targets. Out: ``TargetNoise``, which gives the probability that a target is wrong.

The given target y of a sample with the prediction f is right, and then f plus a residual of the model,
t-distributed with scale s; or it belongs to another sample, and has the distribution of all targets,
smoothed; or it is broadly off, and y - f has a Cauchy distribution of scale 3 s. Scale and shares maximise
the likelihood, by EM.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields

_STEPS = 200
"""Most iterations of EM."""
_CLOSE = 1e-6
_FREEDOM = 30.0
"""Degrees of freedom of the model's residuals: nearly Gaussian."""
_BROAD = 3.0
"""Scale of the targets that are broadly off, in multiples of that of the residuals."""
_MOST = 0.5
"""Upper bound of the share of wrong targets."""
_POINTS = 64
"""Quantiles that stand for the distribution of all targets."""
_FENCES = 3.0
"""Targets farther than so many interquartile ranges outside the quartiles do not count for it."""
_POOR = 0.9
"""From this part of the spread of the targets on, residuals tell nothing: the model predicts no better than
the median. Nor do they where half of the targets would be wrong. No target is then more probably wrong than
right."""


@dataclass(frozen=True, slots=True)
class TargetNoise(TensorFields):
    """The fitted parameters, for each of m targets; float64."""

    scale: Float[Tensor, " m"]
    """Of the model's residuals."""
    exchanged: Float[Tensor, " m"]
    """Share of the targets that belong to other samples."""
    broad: Float[Tensor, " m"]
    """Share of the targets that are broadly off."""
    quantiles: Float[Tensor, "m q"]
    """Of the given targets."""
    width: Float[Tensor, " m"]
    """Standard deviation of the Gaussian kernel on each quantile."""
    poor: Float[Tensor, " m"]
    """1 where residuals tell nothing, else 0."""

    @classmethod
    def fitted(cls, predictions: Float[Tensor, "n m"], targets: Float[Tensor, "n m"]) -> "TargetNoise":
        """Fit by EM; O(n m) an iteration.

        Args:
            predictions: Best those of a model that was not trained on these targets.
            targets: The given ones.
        """
        f, y = predictions.double(), targets.double()
        levels = torch.linspace(0, 1, _POINTS + 2, dtype=y.dtype, device=y.device)[1:-1]
        quarters = y.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=y.dtype, device=y.device), dim=0)
        spread = (quarters[2] - quarters[0]).clamp_min(torch.finfo(torch.float32).tiny)
        fences = quarters[0] - _FENCES * spread, quarters[2] + _FENCES * spread
        quantiles = y.clamp(*fences).quantile(levels, dim=0).t().contiguous()
        residual = y - f
        scale = (1.4826 * residual.abs().median(0).values).clamp_min(1e-6 * spread)
        few = torch.full_like(scale, 0.03)
        width = quantiles.std(1).clamp_min(1e-6 * spread)
        found = cls(scale, few, few, quantiles, width, torch.zeros_like(scale))
        elsewhere = found._elsewhere(y)
        for _ in range(_STEPS):
            before = found
            right, exchanged, broad = before._parts(residual, elsewhere)
            total = right + exchanged + broad
            weight = right / total
            tails = weight * (_FREEDOM + 1) / (_FREEDOM + (residual / before.scale).square())
            squared = (tails * residual.square()).sum(0) / weight.sum(0).clamp_min(1.0)
            shares = [(part / total).sum(0) + 0.1 for part in (exchanged, broad)]
            shares = [share / (len(y) + 10) for share in shares]
            too_many = ((shares[0] + shares[1]) / _MOST).clamp_min(1.0)
            found = cls(
                squared.sqrt().clamp_min(1e-6 * spread),
                shares[0] / too_many,
                shares[1] / too_many,
                quantiles,
                width,
                ((squared.sqrt() > _POOR * spread / 1.349) | (too_many > 1)).to(y.dtype),
            )
            if ((found.scale / before.scale - 1).abs() < _CLOSE).all():
                break
        return found

    def wrong(self, predictions: Float[Tensor, "b m"], targets: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The probability that each target is wrong."""
        y = targets.double()
        right, exchanged, broad = self._parts(y - predictions.double(), self._elsewhere(y))
        wrong = (exchanged + broad) / (right + exchanged + broad)
        return torch.where(self.poor > 0, wrong / 2, wrong)

    def _parts(
        self, residual: Float[Tensor, "b m"], elsewhere: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """The joint densities with right, exchanged and broadly wrong targets."""
        right = (1 - self.exchanged - self.broad) * _student(residual, self.scale, _FREEDOM)
        return (
            right.clamp_min(torch.finfo(right.dtype).tiny),
            self.exchanged * elsewhere,
            self.broad * _student(residual, _BROAD * self.scale, 1.0),
        )

    def _elsewhere(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The density of the targets of other samples; one quantile after the other, for the memory."""
        found = torch.zeros_like(y)
        for point in self.quantiles.t():
            found += torch.exp(-((y - point) / self.width).square() / 2)
        return found / (len(self.quantiles.t()) * self.width * math.sqrt(2 * math.pi))


def _student(value: Float[Tensor, "b m"], scale: Float[Tensor, " m"], freedom: float) -> Float[Tensor, "b m"]:
    """The density of Student's t distribution."""
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    logs = -(freedom + 1) / 2 * torch.log1p((value / scale).square() / freedom)
    return (constant + logs - scale.log()).exp()
