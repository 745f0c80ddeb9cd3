"""How predictions differ from given labels: how often, how firmly, and how much of it is label noise.

In: log-probabilities of the classes, and given labels. Out: a ``Disagreement``.

A model errs where it is unsure, so that its own mistakes become rare among its most confident predictions.
Wrong labels do not: the share of the predictions that differ from the label approaches the share of wrong
labels, as at anchor points (Patrini et al., CVPR 2017, arXiv 1609.03683). With u the rank of the confidence
within the predicted class, from 0 to 1,

    P(prediction differs | u) = e + ((k - 1) / k - e) Phi(a - b Phi^-1(u)),

where e, the *lapses*, is what remains where the model is surest (the lapse rate of psychometric functions).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.softmax import log_softmax, softmax
from ogacli.detectors.label_noise.calibration import newton_step
from ogacli.detectors.label_noise.candidates import Candidates

_BINS = 20
_STEEPEST, _FLATTEST, _SLOPES = 6.0, 0.5, 12
"""Bounds of b. With a flatter curve any disagreement could be the model's own."""
_SHIFTS = 29
_LEAST, _MOST, _SHARES = 1e-3, 0.85, 90
"""Grids of a and e."""
_LIKELY = 1.92
"""Half of the 95 % quantile of chi-squared with one degree of freedom."""
_NEAR_TIE = 0.5
"""A prediction is a near tie where the second probability is above this part of the first."""
_NEWTON_STEPS = 12
_TEMPERATURES = (0.1, 16.0)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The predictions of one model, or of the neighbours of each sample, compared with the given labels."""

    samples: int
    share: float
    """Share of the samples whose prediction is not the given label."""
    near_ties: float
    """Share of these whose two most probable classes are nearly as probable, after calibration. Of strong
    models a fifth to a third, as they are sure of either; of weak ones half. NaN where it is unknown."""
    lapses: float
    """The most likely share of disagreement that remains where the model is surest."""
    fewest: float
    most: float
    """Ends of its 95 % likelihood interval."""
    majority: float
    """Share of the most frequent label."""
    kappa: float
    """Cohen's kappa of predictions and labels: their agreement above that by chance."""
    inverse_temperature: float
    """By which log-probabilities are multiplied to be calibrated to the given labels. Above 1 where a model
    has learned them."""

    @classmethod
    def of(cls, entries: Float[Tensor, "n e"], seen: Candidates) -> "Disagreement":
        """Of the samples of ``seen``.

        Args:
            entries: Log-probabilities of the candidates, by the model or by the neighbours.
            seen: The candidates; their own probabilities are not looked at.
        """
        beta = _inverse_temperature(entries, seen)
        calibrated = log_softmax(seen.biased(beta * entries, entries.new_zeros(seen.k)))
        if seen.classes is not None:
            calibrated = calibrated[:, :-1]
        highest, where = calibrated.topk(2, 1)
        first = where[:, :1]
        predictions = (first if seen.classes is None else seen.classes.gather(1, first))[:, 0]
        differs = predictions != seen.labels
        near = ((highest[:, 1] - highest[:, 0]).exp() > _NEAR_TIE)[differs]
        share = float(near.double().mean()) if len(near) else 0.0
        return cls._of(predictions, highest[:, 0], seen.labels, seen.k, share, beta)

    @classmethod
    def of_confidence(
        cls,
        predictions: Int64[Tensor, " n"],
        confidence: Float[Tensor, " n"],
        labels: Int64[Tensor, " n"],
        k: int,
    ) -> "Disagreement":
        """Where only the most probable class and its probability are known."""
        return cls._of(predictions, confidence, labels, k, math.nan, 1.0)

    @classmethod
    def _of(
        cls, predictions: Tensor, confidence: Tensor, labels: Tensor, k: int, near: float, beta: float
    ) -> "Disagreement":
        differs = predictions != labels
        lapses, fewest, most = _lapses(_ranks(predictions, confidence), differs, k)
        return cls(
            samples=len(labels),
            share=float(differs.double().mean()),
            near_ties=near,
            lapses=lapses,
            fewest=fewest,
            most=most,
            majority=int(labels.bincount().max()) / len(labels),
            kappa=_kappa(predictions, labels),
            inverse_temperature=beta,
        )

    @property
    def error(self) -> float:
        """Two standard errors of ``share``."""
        return share_with_error(self.share, self.samples)[1]

    @property
    def flat(self) -> bool:
        """Whether hardly any disagreement is a near tie, as of a strong model with wrong labels.

        Models of clean labels are torn in a third of their few mistakes or more, so that the upper end of the
        interval of ``near_ties`` is compared.
        """
        middle, error = share_with_error(self.near_ties, self.share * self.samples)
        return middle + error < 0.35 and self.share > 0.02


def _kappa(predictions: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]) -> float:
    size = 1 + int(max(predictions.max(), labels.max()))
    counts = [one.bincount(minlength=size).double() for one in (predictions, labels)]
    chance = float((counts[0] * counts[1]).sum()) / len(labels) ** 2
    return (float((predictions == labels).double().mean()) - chance) / (1 - chance) if chance < 1 else 0.0


def share_with_error(share: float, n: float) -> tuple[float, float]:
    """The middle of the interval of a share of n samples, and two standard errors.

    They are not 0 where the share is (Agresti and Coull, 1998).
    """
    middle = (share * n + 2) / (n + 4)
    return middle, 2 * math.sqrt(middle * (1 - middle) / (n + 4))


def _inverse_temperature(entries: Float[Tensor, "n e"], seen: Candidates) -> float:
    """By maximum likelihood of the given labels, which is concave."""
    beta, none = 1.0, entries.new_zeros(seen.k)
    given = seen.of_label(entries)
    for _ in range(_NEWTON_STEPS):
        p = softmax(seen.biased(beta * entries, none))
        before, least, most = beta, *_TEMPERATURES
        beta = min(max(beta + newton_step(p, given, entries), beta / 2, least), beta * 2, most)
        if abs(beta / before - 1) < 1e-3:
            break
    return beta


def _ranks(predictions: Int64[Tensor, " n"], confidence: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The rank of the confidence within the predicted class, from 0 to 1; ties keep their order."""
    order = confidence.argsort(stable=True)
    order = order[predictions[order].argsort(stable=True)]
    sizes = predictions.unique(return_counts=True)[1]
    begins = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    place = torch.arange(len(order), device=order.device) - begins + 0.5
    found = torch.empty(len(order), dtype=torch.float64, device=order.device)
    found[order] = place.double() / sizes.repeat_interleave(sizes)
    return found


def _lapses(ranks: Float[Tensor, " n"], differs: Tensor, k: int) -> tuple[float, float, float]:
    """The maximum-likelihood share e and its 95 % interval, on a grid."""
    bins = (ranks * _BINS).long().clamp_max(_BINS - 1).cpu()
    counts = bins.bincount(minlength=_BINS).double()
    wrong = bins.bincount(differs.cpu().double(), minlength=_BINS)
    middle = torch.special.ndtri((torch.arange(_BINS, dtype=torch.float64) + 0.5) / _BINS)
    chance = (k - 1) / k
    shares = torch.logspace(math.log10(_LEAST), math.log10(_MOST), _SHARES, dtype=torch.float64)
    shares = torch.cat([torch.zeros(1, dtype=torch.float64), shares[shares <= 0.95 * chance]])
    shifts = torch.linspace(-4, 3, _SHIFTS, dtype=torch.float64)
    low, high = math.log10(_FLATTEST), math.log10(_STEEPEST)
    slopes = torch.logspace(low, high, _SLOPES, dtype=torch.float64)
    own = torch.special.ndtr(shifts[:, None, None] - slopes[:, None] * middle)
    p = shares[:, None, None, None] + (chance - shares)[:, None, None, None] * own
    p = p.clamp(1e-7, 1 - 1e-7)
    likelihood = (wrong * p.log() + (counts - wrong) * (-p).log1p()).sum(3).flatten(1).max(1).values
    likely = shares[likelihood >= likelihood.max() - _LIKELY]
    return float(shares[likelihood.argmax()]), float(likely[0]), float(likely[-1])
