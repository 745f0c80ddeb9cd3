"""Wrong targets of a regression: a mixture of four distributions of the given target.

In: predictions and given targets. Out: ``TargetNoise``, which gives the probability that a target is wrong.

The given target y of a sample with the prediction f is right, and then f plus a residual of the model,
t-distributed with scale s; or it belongs to another sample, and has the distribution of all targets,
smoothed; or it is shifted, and y - f is t-distributed with a larger scale; or it is broadly off, and y - f
has a Cauchy distribution of scale 3 s. Scales and shares maximise the likelihood, by EM. The logarithm of s
is a quadratic function of the rank of f where the residuals show that it depends on f, by the Bayesian
information criterion; otherwise s is one number. Where f is far from what targets scatter around, as of a
model that was trained on wrong targets of another size, that level is a linear function of f and the same
powers of its rank.
"""

import math
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ogacli.base.device import place_to_iterate
from ogacli.base.tensor_fields import TensorFields

_STEPS = 200
"""Most iterations of EM."""
_CLOSE = 1e-6
_FREEDOM = 30.0
"""Degrees of freedom of the model's residuals, and of the shifts: nearly Gaussian."""
_BROAD = 3.0
"""Scale of the targets that are broadly off, in multiples of that of the residuals; and the lowest scale of
the shifted ones."""
_FARTHEST = 1.5
"""Highest scale of the shifted targets, in interquartile ranges of all."""
_MOST = 0.5
"""Upper bound of the share of wrong targets."""
_POINTS = 64
"""Quantiles that stand for the distribution of all targets."""
_FENCES = 3.0
"""Targets farther than so many interquartile ranges outside the quartiles do not count for it."""
_ALIKE = 0.1
"""With more targets of one value, such as 0, no level is fitted: it would be that value, with no scale."""
_STEEPEST = 1.5
"""Largest coefficient, in size, of the dependence of log s on the prediction."""
_RANKS = 17
"""Quantiles of the predictions, between which ranks are interpolated."""
_MISFIT = 0.05
"""Predictions are far from the level of the targets where a fitted level raises the logarithm of the
likelihood by more than this for each sample, beside what the Bayesian information criterion asks. In
`benchmarks/kinds.py` it rose by less than 0.06 but for models that were trained on targets of a tenth and ten
times the size (more than 0.2); below, the level follows wrong targets of small sets."""
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
    """The logarithm of the scale of the model's residuals, as a polynomial of the rank of the prediction."""
    level: Float[Tensor, "m 4"]
    """What right targets scatter around: a polynomial of the rank, and a multiple of the prediction."""
    knots: Float[Tensor, "m l"]
    """Quantiles of the predictions; the rank of a prediction among them is between -1 and 1."""
    exchanged: Float[Tensor, " m"]
    """Share of the targets that belong to other samples."""
    shifted: Float[Tensor, " m"]
    """Share of the targets that are off by a distance of the scale ``shift``."""
    shift: Float[Tensor, " m"]
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

        With one scale, with a scale that depends on the prediction, and with a level as well.

        Args:
            predictions: Best those of a model that was not trained on these targets.
            targets: The given ones.
        """
        device = place_to_iterate(targets)
        f, y = predictions.double().to(device), targets.double().to(device)
        start, spread = cls._start(f, y)
        elsewhere, criterion = start._elsewhere(y), math.log(len(y)) / 2
        alike = (y == y.mode(0).values).double().mean(0) > _ALIKE
        found, best = start, torch.full_like(spread, -torch.inf)
        for varying, level, cost in (
            (False, False, 0.0),
            (True, False, 2 * criterion),  # two more parameters
            (True, True, 6 * criterion + _MISFIT * len(y)),
        ):
            one = start._maximised(f, y, elsewhere, spread, varying=varying, level=level)
            value = one._likelihood(f, y, elsewhere) - cost
            if level:
                value = value.masked_fill((one.poor > 0) | alike, -torch.inf)
            found, best = one._where(value > best, found), torch.maximum(value, best)
        return found.to(targets.device)

    @classmethod
    def _start(
        cls, f: Float[Tensor, "n m"], y: Float[Tensor, "n m"]
    ) -> tuple["TargetNoise", Float[Tensor, " m"]]:
        """The parameters before the first iteration; and the interquartile range of the targets."""
        levels = torch.linspace(0, 1, _POINTS + 2, dtype=y.dtype, device=y.device)[1:-1]
        ranks = torch.linspace(0, 1, _RANKS, dtype=y.dtype, device=y.device)
        quarters = y.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=y.dtype, device=y.device), dim=0)
        spread = (quarters[2] - quarters[0]).clamp_min(torch.finfo(torch.float32).tiny)
        fences = quarters[0] - _FENCES * spread, quarters[2] + _FENCES * spread
        quantiles = y.clamp(*fences).quantile(levels, dim=0).t().contiguous()
        knots = f.quantile(ranks, dim=0).t().contiguous()
        scale = torch.zeros(y.shape[1], 3, dtype=y.dtype, device=y.device)
        scale[:, 0] = (1.4826 * (y - f).abs().median(0).values).clamp_min(1e-6 * spread).log()
        few = torch.full_like(spread, 0.03)
        width = quantiles.std(1).clamp_min(1e-6 * spread)
        level = torch.zeros(y.shape[1], 4, dtype=y.dtype, device=y.device)
        level[:, 3] = 1
        shift = _BROAD * scale[:, 0].exp()
        poor = torch.zeros_like(few)
        return cls(scale, level, knots, few, few, shift, few, quantiles, width, poor), spread

    def _maximised(
        self,
        f: Float[Tensor, "n m"],
        y: Float[Tensor, "n m"],
        elsewhere: Float[Tensor, "n m"],
        spread: Float[Tensor, " m"],
        *,
        varying: bool,
        level: bool,
    ) -> "TargetNoise":
        """The parameters of the highest likelihood, from these on.

        Args:
            f: The predictions.
            y: The targets.
            elsewhere: The density of the targets of other samples.
            spread: The interquartile range of the targets.
            varying: Whether the scale may depend on the prediction.
            level: Whether the level may be another than the prediction.
        """
        powers, found = self._powers(f), self
        terms = torch.cat([powers, f[..., None]], 2)
        for _ in range(_STEPS):
            before, scales = found, found.scales(f)
            residual = y - before.levels(f)
            parts = torch.stack(before._parts(residual, scales, elsewhere))
            weight, *wrong = parts / parts.sum(0)
            squares = (residual / scales).square()
            robust = weight * (_FREEDOM + 1) / (_FREEDOM + squares)
            pull = robust * squares - weight
            shares = torch.stack([(part.sum(0) + 0.1) / (len(y) + 10) for part in wrong])
            too_many = (shares.sum(0) / _MOST).clamp_min(1.0)
            exchanged, shifted, broad = shares / too_many
            scale = _stepped(before.scale, weight, pull, powers, varying=varying)
            scale[:, 0] = scale[:, 0].clamp_min((1e-6 * spread).log())
            shift = _scale_of(residual, before.shift, wrong[1])
            shift = shift.minimum(_FARTHEST * spread).maximum(_BROAD * scales.square().mean(0).sqrt())
            found = replace(
                before, scale=scale, exchanged=exchanged, shifted=shifted, shift=shift, broad=broad
            )
            if level:
                step = _regressed(residual, terms, robust / scales.square())
                found = replace(found, level=before.level + step)
            if ((found.scale - before.scale).abs() < _CLOSE).all():
                break
        typical = found.scales(f).square().mean(0).sqrt()
        return replace(found, poor=((typical > _POOR * spread / 1.349) | (too_many > 1)).to(y.dtype))

    def _where(self, better: Bool[Tensor, " m"], other: "TargetNoise") -> "TargetNoise":
        """These parameters for some of the targets, those of another fit for the rest."""
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return TargetNoise(*(torch.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))

    def _likelihood(
        self, f: Float[Tensor, "n m"], y: Float[Tensor, "n m"], elsewhere: Float[Tensor, "n m"]
    ) -> Float[Tensor, " m"]:
        """The logarithm of the likelihood, for each target."""
        parts = self._parts(y - self.levels(f), self.scales(f), elsewhere)
        return torch.stack(parts).sum(0).log().sum(0)

    def wrong(self, predictions: Float[Tensor, "b m"], targets: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The probability that each target is wrong."""
        f, y = predictions.double(), targets.double()
        parts = torch.stack(self._parts(y - self.levels(f), self.scales(f), self._elsewhere(y)))
        wrong = parts[1:].sum(0) / parts.sum(0)
        return torch.where(self.poor > 0, wrong / 2, wrong)

    def suggested(
        self, predictions: Float[Tensor, "b m"], targets: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """The levels; and from them to the ends of the interval that holds 90 % of the right targets."""
        f = predictions.double()
        return self.levels(f), _WITHIN * self.scales(f)

    def levels(self, predictions: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """What right targets scatter around at each prediction."""
        return (
            torch.einsum("bmc,mc->bm", self._powers(predictions), self.level[:, :3])
            + predictions * self.level[:, 3]
        )

    def scales(self, predictions: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The scale of the model's residuals at each prediction."""
        return torch.einsum("bmc,mc->bm", self._powers(predictions), self.scale).exp()

    def _powers(self, predictions: Float[Tensor, "b m"]) -> Float[Tensor, "b m 3"]:
        rank = torch.zeros_like(predictions, dtype=self.knots.dtype)
        for low, high in pairwise(self.knots.t()):
            rank += ((predictions - low) / (high - low).clamp_min(torch.finfo(low.dtype).tiny)).clamp(
                0.0, 1.0
            )
        rank = 2 * rank / (self.knots.shape[1] - 1) - 1
        return torch.stack([torch.ones_like(rank), rank, rank.square()], 2)

    def _parts(
        self, residual: Float[Tensor, "b m"], scales: Float[Tensor, "b m"], elsewhere: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m"], ...]:
        """The joint densities with right, exchanged, shifted and broadly wrong targets."""
        right = (1 - self.exchanged - self.shifted - self.broad) * _student(residual, scales, _FREEDOM)
        return (
            right.clamp_min(torch.finfo(right.dtype).tiny),
            self.exchanged * elsewhere,
            self.shifted * _student(residual, self.shift, _FREEDOM),
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


def _scale_of(
    value: Float[Tensor, "n m"], scale: Float[Tensor, " m"], weight: Float[Tensor, "n m"]
) -> Float[Tensor, " m"]:
    """One step of EM for the scale of Student's t distribution, with its last value as one more sample."""
    squares = value.square()
    robust = weight * (_FREEDOM + 1) / (_FREEDOM + squares / scale.square())
    return (((robust * squares).sum(0) + scale.square()) / (weight.sum(0) + 1)).sqrt()


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


def _regressed(
    y: Float[Tensor, "n m"], terms: Float[Tensor, "n m c"], weight: Float[Tensor, "n m"]
) -> Float[Tensor, "m c"]:
    """Coefficients of the weighted least squares, with a ridge against terms that depend on one another."""
    unit = terms.square().mean(0).sqrt().clamp_min(torch.finfo(y.dtype).tiny)
    terms = terms / unit
    information = torch.einsum("nm,nmc,nmd->mcd", weight, terms, terms)
    ridge = _CLOSE * weight.sum(0)[:, None].expand(unit.shape).diag_embed()
    found: Tensor = torch.linalg.solve(information + ridge, torch.einsum("nm,nmc,nm->mc", weight, terms, y))
    return found / unit
