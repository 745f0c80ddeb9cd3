"""The number of wrong labels: an estimate from the predictions, for ``budget: auto``.

In: the predictions, the given labels and, by a label detector, the probability that each label is wrong and
the ``Signals`` of each checkpoint. Out: an ``Estimate`` with an interval.

A label that the model does not predict is wrong, or the prediction is. Three kinds of evidence tell:

- *Lapses*: disagreement that does not become rare where the model is surest is label noise.
- *Sharpness*: where the noise depends on the class alone, the label noise model fits a sharp prior.
- *Flat disagreement*: a strong model contradicts wrong labels firmly; clean labels it contradicts seldom, and
  is torn then.

Where none of them is there, wrong labels and the mistakes of a weak model look the same, and the share of the
labels that a model does not predict says nothing about them: no share is told, only a range. Samples that the
model was trained on are judged by their neighbours as far as it has learned their labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # reading a summary needs no torch
    from collections.abc import Sequence

    from jaxtyping import Int64
    from torch import Tensor

    from ogacli.detectors.label_noise.signals import Signals
    from ogacli.verdict.findings import Findings

_CLEARLY, _PROBABLY = 0.2, 0.1
"""From these parts of the disagreement on the lapses tell the share; from the smaller one on only where the
label noise model fits a sharpness of at least ``_SHARPNESS``."""
_SHARPNESS = 1.3
_TORN = 0.7
"""From this share of near ties on a model is too weak for its lapses to tell anything. With two classes much
label noise alone makes near ties of all predictions."""
_LITTLE = 0.08
"""Below this share of disagreement there is nothing to trim, whatever its cause."""
_HIDDEN, _LEARNED = 1.1, 1.25
"""Upper ends of the interval in multiples of the disagreement: some wrong labels are predicted, and more
where the model was trained on them."""
_SURE = 0.9
"""With several annotators the lower end of the interval counts labels wrong with this probability."""
_MOST = 1 << 20
"""Samples whose predictions alone are looked at, at most."""
_NEARLY_ALL = 0.1
"""Part of the labels other than the most frequent one that a model must predict to count as trained."""

_KAPPA = 4.0
"""Standard errors of Cohen's kappa, if there were no agreement beyond chance, from which a model has learned
something although much label noise leaves it hardly more right than the most frequent label."""

Basis = Literal["held out", "checkpoint", "trajectory"]
UNLEARNED = "the model predicts hardly more of the labels than the most frequent label alone would"
MEMORISED = "the model has learned the labels, right and wrong ones, and its neighbours tell nothing either"
CONTRADICTED = "most parts of the labels contradict the model, which tells more about the model"
ALIKE = "wrong labels and the mistakes of the model look the same here"


class Estimate(BaseModel):
    """The share of the scored samples whose label is wrong."""

    model_config = ConfigDict(frozen=True)

    share: float | None
    """None where it cannot be told."""
    low: float
    """Lower and upper end of its range."""
    high: float
    by: Basis
    """The source of the predictions: a model that was not trained on the samples, one checkpoint that was, or
    several."""
    reason: str = ""
    """Why it cannot be told."""

    def count(self, n: int) -> int:
        """How many of n samples ``budget: auto`` flags; none where the share cannot be told."""
        return round((self.share or 0.0) * n)


def estimate(findings: Findings, labels: Int64[Tensor, " n"]) -> Estimate | None:
    """The share of wrong labels; None without predictions.

    Args:
        findings: The results of the scan.
        labels: The given class of each sample.
    """
    if not any(bool(part.predicted.any()) for _, part in findings.parts()):
        return None
    by = _basis(findings)
    half = _above_half(findings)
    if findings.annotated and findings.wrong is not None:
        wrong = findings.wrong[findings.predicted].double()
        low, expected = float((wrong > _SURE).double().mean()), float(wrong.mean())
        return Estimate(share=half, low=min(low, half), high=max(half, expected), by=by)
    signals = findings.signals or ((1.0, _of_predictions(findings, labels, by)),)
    return _together([(weight, _of(one, half, by)) for weight, one in signals])


def hardly_learned(accuracy: float, majority: float) -> bool:
    """Whether a model predicts little more of the labels than the most frequent label alone would.

    Args:
        accuracy: The share of the labels that it predicts.
        majority: The share of the most frequent label.
    """
    return accuracy - majority < _NEARLY_ALL * (1 - majority)


def _of(signals: Signals, half: float, by: Basis) -> Estimate:
    """By one checkpoint.

    Args:
        signals: Of the checkpoint.
        half: The share of the samples whose label is more probably wrong than right; NaN where unknown.
        by: The source of the predictions.
    """
    best, lapses, fewest, part = signals.best, signals.lapses, signals.fewest, signals.part
    learned = best.kappa * math.sqrt(best.samples) > _KAPPA and part >= _CLEARLY
    if hardly_learned(1 - best.share, best.majority) and not learned:
        return Estimate(share=None, low=0.0, high=1.0, by=by, reason=UNLEARNED)
    high = _high(signals, by)
    if signals.memorised and not signals.neighbours_tell:
        return Estimate(share=None, low=0.0, high=high, by=by, reason=MEMORISED)
    told = part >= _CLEARLY or (part >= _PROBABLY and signals.sharpness >= _SHARPNESS)
    told &= signals.k == 2 or not best.near_ties >= _TORN  # which may be unknown
    if signals.flat and signals.doubtful:
        share = best.share  # label noise by class explains only a part of what follows doubt
    elif signals.flat or (signals.class_conditional and told):
        share = _between(half, fewest, max(best.share, fewest))
    elif told:
        share = _between(half, lapses.lapses, lapses.most)
    elif best.share < _LITTLE:
        share, fewest = fewest, 0.0
    else:
        return Estimate(share=None, low=0.0, high=high, by=by, reason=ALIKE)
    return Estimate(share=share, low=min(fewest, share), high=max(high, share), by=by)


def _between(share: float, low: float, high: float) -> float:
    """The share, but within bounds; the lower one where it is unknown."""
    return min(max(low if math.isnan(share) else share, low), high)


def _high(signals: Signals, by: Basis) -> float:
    best, near = signals.best, signals.near
    factor = _HIDDEN if by == "held out" else _LEARNED
    high = factor * best.share + best.error
    if near is not None and by != "held out" and (signals.neighbours_tell or signals.memorised):
        high = max(high, _HIDDEN * near.share + near.error)
    return min(1.0, high)


def _together(several: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Of several checkpoints, by weight; told where those that can tell have most of it."""
    if len(several) == 1:
        return several[0][1]
    learned = [(weight, one) for weight, one in several if one.reason != UNLEARNED] or list(several)
    total = sum(weight for weight, _ in learned)
    told = [(weight, one.share) for weight, one in learned if one.share is not None]
    weight_told = sum(weight for weight, _ in told)
    low = sum(weight * one.low for weight, one in learned) / total
    high, by = max(one.high for _, one in learned), learned[0][1].by
    if 2 * weight_told <= total:
        reason = next(one.reason for _, one in learned if one.reason)
        return Estimate(share=None, low=0.0, high=high, by=by, reason=reason)
    share = sum(weight * share for weight, share in told) / weight_told
    return Estimate(share=share, low=min(low, share), high=max(high, share), by=by)


def _of_predictions(findings: Findings, labels: Int64[Tensor, " n"], by: Basis) -> Signals:
    """Without a label detector: lapses alone, as second probabilities and neighbours are not known.

    Of more than a million samples by a million of them.
    """
    from ogacli.detectors.label_noise.disagreement import Disagreement
    from ogacli.detectors.label_noise.signals import Signals

    findings, rows = findings.subset(_MOST)
    known = findings.predicted
    predictions, given = findings.predictions[known], labels[rows[known]]
    k = 1 + int(max(predictions.max(), given.max()))
    own = Disagreement.of_confidence(predictions, findings.prediction_probability[known], given, max(2, k))
    return Signals(max(2, k), own, None, 0.0, by == "held out")


def _above_half(findings: Findings) -> float:
    if findings.wrong is None:
        return math.nan
    above = known = 0
    for _, part in findings.parts():
        assert part.wrong is not None
        wrong = part.wrong[part.predicted]
        above += int((wrong > 0.5).sum())
        known += int((~wrong.isnan()).sum())
    return above / known if known else math.nan


def _basis(findings: Findings) -> Basis:
    if findings.held_out or (not findings.several and not _seen(findings)):
        return "held out"
    return "trajectory" if findings.several else "checkpoint"


def _seen(findings: Findings) -> bool:
    """Whether the model was probably trained on the labels: its mean loss is below its mean entropy."""
    if findings.entropy is None:
        return True
    least = 1e-30  # a probability that was rounded to 0
    loss = entropy = 0.0
    for _, part in findings.parts():
        assert part.entropy is not None
        known = part.predicted
        loss -= float(part.probability[known].double().clamp_min(least).log().sum())
        entropy += float(part.entropy[known].double().sum())
    return loss < entropy
