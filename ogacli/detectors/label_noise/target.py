"""Wrong targets of a regression: a mixture of three distributions of the given target.

In: predictions and given targets. Out: ``TargetNoise``, which gives the probability that a target is wrong.

The given target y of a sample with the prediction f is right, and then f plus a residual of the model,
t-distributed with scale s; or it belongs to another sample, and has the distribution of all targets,
smoothed; or it is broadly off, and y - f has a Cauchy distribution of scale 3 s. Scale and shares maximise
the likelihood, by EM. The logarithm of s is a quadratic function of f where the residuals show that it
depends on f, by the Bayesian information criterion; otherwise s is one number.
"""

import math
from dataclasses import dataclass, fields, replace

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
_STEEPEST = 1.5
"""Largest coefficient, in size, of the dependence of log s on the prediction."""
_WITHIN = 1.697
"""Of t with 30 degrees of freedom, 90 % lie within so many scales."""
_POOR = 0.9
"""From this part of the spread of the targets on, residuals tell nothing: the model predicts no better than
the median. Nor do they where half of the targets would be wrong. No target is then more probably wrong than
right."""


@dataclass(frozen=True, slots=True)
class TargetNoise(TensorFields):
    """The fitted parameters, for each of m targets; float64."""

    scale: Float[Tensor, "m 3"]
    """The logarithm of the scale of the model's residuals, as a polynomial of the standardised prediction."""
    center: Float[Tensor, " m"]
    """A prediction is standardised as (prediction - center) / reach, and cut off at -1 and 1."""
    reach: Float[Tensor, " m"]
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
        """Fit by EM, with one scale and with a scale that depends on the prediction; O(n m) an iteration.

        Args:
            predictions: Best those of a model that was not trained on these targets.
            targets: The given ones.
        """
        f, y = predictions.double(), targets.double()
        start, spread = cls._start(f, y)
        elsewhere = start._elsewhere(y)
        plain, varying = (start._maximised(f, y, elsewhere, spread, varying=one) for one in (False, True))
        gain = varying._likelihood(f, y, elsewhere) - plain._likelihood(f, y, elsewhere)
        better = gain > math.log(len(y))  # half of the criterion, for two more parameters
        return cls(
            *(
                torch.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)
                for a, b in ((getattr(varying, one.name), getattr(plain, one.name)) for one in fields(cls))
            )
        )

    @classmethod
    def _start(
        cls, f: Float[Tensor, "n m"], y: Float[Tensor, "n m"]
    ) -> tuple["TargetNoise", Float[Tensor, " m"]]:
        """The parameters before the first iteration; and the interquartile range of the targets."""
        levels = torch.linspace(0, 1, _POINTS + 2, dtype=y.dtype, device=y.device)[1:-1]
        parts = torch.tensor([0.25, 0.5, 0.75, 0.02, 0.98], dtype=y.dtype, device=y.device)
        quarters = y.quantile(parts[:3], dim=0)
        spread = (quarters[2] - quarters[0]).clamp_min(torch.finfo(torch.float32).tiny)
        fences = quarters[0] - _FENCES * spread, quarters[2] + _FENCES * spread
        quantiles = y.clamp(*fences).quantile(levels, dim=0).t().contiguous()
        low, high = f.quantile(parts[3:], dim=0)
        scale = torch.zeros(y.shape[1], 3, dtype=y.dtype, device=y.device)
        scale[:, 0] = (1.4826 * (y - f).abs().median(0).values).clamp_min(1e-6 * spread).log()
        few = torch.full_like(spread, 0.03)
        width = quantiles.std(1).clamp_min(1e-6 * spread)
        reach = ((high - low) / 2).clamp_min(torch.finfo(torch.float32).tiny)
        none = torch.zeros_like(few)
        return cls(scale, (low + high) / 2, reach, few, few, quantiles, width, none), spread

    def _maximised(
        self,
        f: Float[Tensor, "n m"],
        y: Float[Tensor, "n m"],
        elsewhere: Float[Tensor, "n m"],
        spread: Float[Tensor, " m"],
        *,
        varying: bool,
    ) -> "TargetNoise":
        """The parameters of the highest likelihood, from these on."""
        residual, powers, found = y - f, self._powers(f), self
        for _ in range(_STEPS):
            before, scales = found, found.scales(f)
            right, exchanged, broad = before._parts(residual, scales, elsewhere)
            total = right + exchanged + broad
            weight = right / total
            squares = (residual / scales).square()
            pull = weight * ((_FREEDOM + 1) / (_FREEDOM + squares) * squares - 1)
            shares = [(part / total).sum(0) + 0.1 for part in (exchanged, broad)]
            shares = [share / (len(y) + 10) for share in shares]
            too_many = ((shares[0] + shares[1]) / _MOST).clamp_min(1.0)
            scale = _stepped(before.scale, weight, pull, powers, varying=varying)
            scale[:, 0] = scale[:, 0].clamp_min((1e-6 * spread).log())
            found = replace(before, scale=scale, exchanged=shares[0] / too_many, broad=shares[1] / too_many)
            if ((found.scale - before.scale).abs() < _CLOSE).all():
                break
        typical = found.scales(f).square().mean(0).sqrt()
        return replace(found, poor=((typical > _POOR * spread / 1.349) | (too_many > 1)).to(y.dtype))

    def _likelihood(
        self, f: Float[Tensor, "n m"], y: Float[Tensor, "n m"], elsewhere: Float[Tensor, "n m"]
    ) -> Float[Tensor, " m"]:
        """The logarithm of the likelihood, for each target."""
        right, exchanged, broad = self._parts(y - f, self.scales(f), elsewhere)
        return (right + exchanged + broad).log().sum(0)

    def wrong(self, predictions: Float[Tensor, "b m"], targets: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The probability that each target is wrong."""
        f, y = predictions.double(), targets.double()
        right, exchanged, broad = self._parts(y - f, self.scales(f), self._elsewhere(y))
        wrong = (exchanged + broad) / (right + exchanged + broad)
        return torch.where(self.poor > 0, wrong / 2, wrong)

    def suggested(
        self, predictions: Float[Tensor, "b m"], targets: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """The predictions; and from them to the ends of the interval that holds 90 % of the right targets."""
        return predictions, _WITHIN * self.scales(predictions.double())

    def scales(self, predictions: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The scale of the model's residuals at each prediction."""
        return torch.einsum("bmc,mc->bm", self._powers(predictions), self.scale).exp()

    def _powers(self, predictions: Float[Tensor, "b m"]) -> Float[Tensor, "b m 3"]:
        standardised = ((predictions - self.center) / self.reach).clamp(-1.0, 1.0)
        return torch.stack([torch.ones_like(standardised), standardised, standardised.square()], 2)

    def _parts(
        self, residual: Float[Tensor, "b m"], scales: Float[Tensor, "b m"], elsewhere: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """The joint densities with right, exchanged and broadly wrong targets."""
        right = (1 - self.exchanged - self.broad) * _student(residual, scales, _FREEDOM)
        return (
            right.clamp_min(torch.finfo(right.dtype).tiny),
            self.exchanged * elsewhere,
            self.broad * _student(residual, _BROAD * scales, 1.0),
        )

    def _elsewhere(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The density of the targets of other samples; one quantile after the other, for the memory."""
        found = torch.zeros_like(y)
        for point in self.quantiles.t():
            found += torch.exp(-((y - point) / self.width).square() / 2)
        return found / (len(self.quantiles.t()) * self.width * math.sqrt(2 * math.pi))


def _student(
    value: Float[Tensor, "b m"], scale: Float[Tensor, "b m"], freedom: float
) -> Float[Tensor, "b m"]:
    """The density of Student's t distribution."""
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    logs = -(freedom + 1) / 2 * torch.log1p((value / scale).square() / freedom)
    return (constant + logs - scale.log()).exp()


def _stepped(
    scale: Float[Tensor, "m 3"],
    weight: Float[Tensor, "n m"],
    pull: Float[Tensor, "n m"],
    powers: Float[Tensor, "n m 3"],
    *,
    varying: bool,
) -> Float[Tensor, "m 3"]:
    """One step of Fisher scoring for the coefficients of log s; for the first one alone unless varying."""
    if not varying:
        powers = powers[:, :, :1]
    slope = torch.einsum("nm,nmc->mc", pull, powers)
    information = 2 * torch.einsum("nm,nmc,nmd->mcd", weight, powers, powers)
    information += torch.eye(powers.shape[2], dtype=scale.dtype, device=scale.device)
    step = torch.linalg.solve(information, slope).clamp(-1.0, 1.0)
    found = scale.clone()
    found[:, : powers.shape[2]] += step
    found[:, 1:] = found[:, 1:].clamp(-_STEEPEST, _STEEPEST)
    return found
