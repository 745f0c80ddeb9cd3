"""How many labels are wrong: an estimate from the predictions, for ``budget: auto``.

In: what was predicted of each sample, the given labels, and how probably each is wrong, where a detector says
so. Out: an ``Estimate`` with an interval.

Where samples were held out from the model's training, a label that it contradicts is wrong, or the model
is. Where it is surest it hardly ever is, so that the share of contradicted labels there is that of wrong
ones (the anchor points of Patrini et al., CVPR 2017, arXiv 1609.03683). Where a detector has few doubts,
the mean of its probabilities is nearer, as all samples count; with many doubts, noise in the labels and a
weak model look the same to it. A model that was trained on the labels is surest where it has learned them,
wrong ones too; its own mistakes and what it has learned then cancel more or less, the better the more
labels are wrong. Constants were chosen on ``benchmarks/detection.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # reading a summary needs no torch
    from jaxtyping import Bool, Float, Int64
    from torch import Tensor

    from ogacli.verdict.findings import Findings

_SURE = 0.3
"""The share of each predicted class that the model is surest of."""
_MOSTLY_NOISE = 0.3
"""From this share of contradicted labels on, a model's contradictions of labels that it was trained on are
taken for wrong labels; below, only in proportion."""
_MOSTLY_NOISE_OF_SEVERAL = 0.1
"""The same of several checkpoints, which err less together."""
_NOTHING = 0.002
"""Shares below cannot be told from nothing."""
_DOUBTFUL = 1 / 3
"""A detector has few doubts where no more than so large a part of the labels that it finds wrong is expected
to be on the other side of one half."""
_DOUBTFUL_OF_TRAINED = 0.2
"""The same where it rests on a model that was trained on the labels, and hides some of the wrong ones."""
_OWN_MISTAKES = 0.15
"""A share of the estimate that may be mistakes of the model among those that it is surest of."""
_LITTLE = 0.1
"""A part of what is to be learned beyond the most frequent label."""
_UNLEARNED = 1.25
"""So many times more labels may be wrong than a model contradicts that was trained on them."""

Basis = Literal["held out", "checkpoint", "trajectory"]


class Estimate(BaseModel):
    """The share of the scored samples whose label is wrong."""

    model_config = ConfigDict(frozen=True)

    share: float
    low: float
    """Where the share may be instead: two standard errors, and what the method is known to be off by."""
    high: float
    by: Basis
    """What it rests on: predictions of samples that were not trained on; of one checkpoint that was trained
    on them; of several. The latter two say nothing of a model that knows the labels by heart."""

    def count(self, n: int) -> int:
        """How many of n samples that is."""
        return round(self.share * n)


def estimate(findings: Findings, labels: Int64[Tensor, " n"]) -> Estimate | None:
    """The share of wrong labels; None where nothing was predicted, or hardly anything has been learned.

    Args:
        findings: What the scan measured. Where they do not say that samples were held out, it is inferred
            from whether the loss is below the entropy.
        labels: The given class of each sample.
    """
    known = findings.predicted
    n = int(known.sum())
    if not n:
        return None
    differs = (findings.predictions != labels)[known].double()
    surest = _surest(findings.prediction_probability[known], findings.predictions[known])
    all_, sure, few = float(differs.mean()), float(differs[surest].mean()), int(surest.sum())
    spread, narrow = _two_errors(all_, n), _two_errors(sure, few)
    by = _basis(findings, known)
    if not findings.held_out and hardly_learned(1 - all_, float(labels[known].bincount().max()) / n):
        return None
    if sure >= _NOTHING and (found := _of_probabilities(findings, known, by)) is not None:
        return found
    if by == "held out":
        high = sure + max(0.0, all_ - sure) / 2 + narrow
        return _bounded(sure, (1 - _OWN_MISTAKES) * sure - narrow, high, by)
    high = _UNLEARNED * all_ + spread
    mostly = _MOSTLY_NOISE_OF_SEVERAL if findings.several else _MOSTLY_NOISE
    share = sure + min(1.0, all_ / mostly) * (all_ - sure)
    low = min(sure, all_) - narrow
    return _bounded(share, low, high, by)


def hardly_learned(accuracy: float, majority: float) -> bool:
    """Whether a model predicts little more of the labels than whoever always says the most frequent one.

    Args:
        accuracy: The share of the labels that it predicts.
        majority: The share of the most frequent label.
    """
    return accuracy - majority < _LITTLE * (1 - majority)


def _basis(findings: Findings, known: Bool[Tensor, " n"]) -> Basis:
    if findings.held_out or (not findings.several and not _seen(findings, known)):
        return "held out"
    return "trajectory" if findings.several else "checkpoint"


def _of_probabilities(findings: Findings, known: Bool[Tensor, " n"], by: Basis) -> Estimate | None:
    """From a detector's probabilities that labels are wrong; None where it is in too many doubts."""
    if findings.wrong is None or by == "trajectory":
        return None
    wrong = findings.wrong[known].double()
    wrong = wrong[~wrong.isnan()]
    if not len(wrong):
        return None
    share, doubts = float(wrong.mean()), float(wrong.minimum(1 - wrong).mean())
    if doubts > (_DOUBTFUL if by == "held out" else _DOUBTFUL_OF_TRAINED) * share:
        return None
    spread = doubts + _two_errors(share, len(wrong))
    return _bounded(share, share - spread, share + spread, by)


def _bounded(share: float, low: float, high: float, by: Basis) -> Estimate:
    share = 0.0 if share < _NOTHING else share
    return Estimate(share=share, low=max(0.0, min(low, share)), high=min(1.0, max(high, share)), by=by)


def _surest(confidence: Float[Tensor, " n"], predictions: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Of each predicted class the samples of highest confidence; ties go to the earlier one."""
    found = predictions < 0
    order = confidence.argsort(descending=True, stable=True)
    for label in predictions.unique().tolist():
        own = order[predictions[order] == label]
        found[own[: math.ceil(_SURE * len(own))]] = True
    return found


def _seen(findings: Findings, known: Bool[Tensor, " n"]) -> bool:
    """Whether the model seems to have been trained on the labels: they surprise it less than it expects.

    What it expects is its entropy, how they surprise it its loss.
    """
    if findings.entropy is None:
        return True
    least = 1e-30  # a probability that was rounded to 0
    loss = -findings.probability[known].double().clamp_min(least).log()
    return bool(loss.mean() < findings.entropy[known].double().mean())


def _two_errors(share: float, n: int) -> float:
    """Two standard errors of a share, which are not 0 where it is (Agresti and Coull, 1998)."""
    middle = (share * n + 2) / (n + 4)
    return 2 * math.sqrt(middle * (1 - middle) / (n + 4))
