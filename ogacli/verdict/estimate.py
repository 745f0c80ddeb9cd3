"""The number of wrong labels: an estimate from the predictions, for ``budget: auto``.

In: the predictions, the given labels and, by a label detector, the probability that each label is wrong. Out:
an ``Estimate`` with an interval.

*Samples held out from the training.* A label that the model does not predict is wrong, or the prediction is.
Confident predictions are hardly ever wrong, so that among the most confident ones the share of labels that
differ is that of wrong labels (anchor points: Patrini et al., CVPR 2017, arXiv 1609.03683). Where a
detector's probabilities are mostly near 0 or 1, their mean is the better estimate, as it uses all samples.
Where many are near one half, label noise and a weak model cannot be told apart by them.

*Samples that the model was trained on.* The model is most confident where it has learned the label, right or
wrong. Its own mistakes and the wrong labels that it has learned cancel approximately, the better the more
labels are wrong. The constants were chosen on ``benchmarks/detection.py``.
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
"""The share of the samples of each predicted class that counts as most confident."""
_MOSTLY_NOISE = 0.3
"""From this share of labels that a model does not predict although it was trained on them, all of these count
as wrong; below, a proportional part."""
_MOSTLY_NOISE_OF_SEVERAL = 0.1
"""The same for the mean of several checkpoints, which makes fewer mistakes."""
_NOTHING = 0.002
"""Shares below this count as 0."""
_DOUBTFUL = 1 / 3
"""A detector's probabilities are used where its expected mistakes, the mean of min(p, 1 - p), are at most
this part of the estimated share."""
_DOUBTFUL_OF_TRAINED = 0.2
"""The same where the model was trained on the labels, and so predicts some of the wrong ones."""
_OWN_MISTAKES = 0.15
"""Part of the estimate that may be mistakes of the model among its most confident predictions."""
_LITTLE = 0.1
"""Part of the labels other than the most frequent one that a model must predict to count as trained."""
_UNLEARNED = 1.25
"""The upper end of the interval, in multiples of the labels that a model does not predict although it was
trained on them."""

Basis = Literal["held out", "checkpoint", "trajectory"]


class Estimate(BaseModel):
    """The share of the scored samples whose label is wrong."""

    model_config = ConfigDict(frozen=True)

    share: float
    low: float
    """Lower and upper end of the interval: two standard errors and the known error of the method."""
    high: float
    by: Basis
    """The source of the predictions: a model that was not trained on the samples, one checkpoint that was, or
    several. The latter two mean nothing for a model that has memorised the labels."""

    def count(self, n: int) -> int:
        """The number of wrong labels among n samples."""
        return round(self.share * n)


def estimate(findings: Findings, labels: Int64[Tensor, " n"]) -> Estimate | None:
    """The share of wrong labels; None without predictions, or where the model has hardly learned anything.

    Args:
        findings: The results of the scan. Without ``held_out`` it is inferred from loss and entropy whether
            the model was trained on the samples.
        labels: The given class of each sample.
    """
    known = findings.predicted
    n = int(known.sum())
    if not n:
        return None
    differs = (findings.predictions != labels)[known].double()
    confident = _confident(findings.prediction_probability[known], findings.predictions[known])
    overall, confident_share, count = (
        float(differs.mean()),
        float(differs[confident].mean()),
        int(confident.sum()),
    )
    spread, narrow = _two_errors(overall, n), _two_errors(confident_share, count)
    by = _basis(findings, known)
    if not findings.held_out and hardly_learned(1 - overall, float(labels[known].bincount().max()) / n):
        return None
    if confident_share >= _NOTHING and (found := _of_probabilities(findings, known, by)) is not None:
        return found
    if by == "held out":
        high = confident_share + max(0.0, overall - confident_share) / 2 + narrow
        return _bounded(confident_share, (1 - _OWN_MISTAKES) * confident_share - narrow, high, by)
    high = _UNLEARNED * overall + spread
    mostly = _MOSTLY_NOISE_OF_SEVERAL if findings.several else _MOSTLY_NOISE
    share = confident_share + min(1.0, overall / mostly) * (overall - confident_share)
    low = min(confident_share, overall) - narrow
    return _bounded(share, low, high, by)


def hardly_learned(accuracy: float, majority: float) -> bool:
    """Whether a model predicts little more of the labels than the most frequent label alone would.

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
    """From a detector's probabilities that labels are wrong; None where too many are near one half."""
    if findings.wrong is None or by == "trajectory":
        return None
    wrong = findings.wrong[known].double()
    wrong = wrong[~wrong.isnan()]
    if not len(wrong):
        return None
    share, mistakes = float(wrong.mean()), float(wrong.minimum(1 - wrong).mean())
    if mistakes > (_DOUBTFUL if by == "held out" else _DOUBTFUL_OF_TRAINED) * share:
        return None
    spread = mistakes + _two_errors(share, len(wrong))
    return _bounded(share, share - spread, share + spread, by)


def _bounded(share: float, low: float, high: float, by: Basis) -> Estimate:
    share = 0.0 if share < _NOTHING else share
    return Estimate(share=share, low=max(0.0, min(low, share)), high=min(1.0, max(high, share)), by=by)


def _confident(confidence: Float[Tensor, " n"], predictions: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """The most confident samples of each predicted class; ties go to the earlier one."""
    order = confidence.argsort(descending=True, stable=True)
    order = order[predictions[order].argsort(stable=True)]
    sizes = predictions.unique(return_counts=True)[1]
    ranks = sizes.new_ones(len(order)).cumsum(0) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    found = predictions < 0
    found[order] = ranks <= (_SURE * sizes.double()).ceil().repeat_interleave(sizes)
    return found


def _seen(findings: Findings, known: Bool[Tensor, " n"]) -> bool:
    """Whether the model was probably trained on the labels: its mean loss is below its mean entropy."""
    if findings.entropy is None:
        return True
    least = 1e-30  # a probability that was rounded to 0
    loss = -findings.probability[known].double().clamp_min(least).log()
    return bool(loss.mean() < findings.entropy[known].double().mean())


def _two_errors(share: float, n: int) -> float:
    """Two standard errors of a share, which are not 0 where it is (Agresti and Coull, 1998)."""
    middle = (share * n + 2) / (n + 4)
    return 2 * math.sqrt(middle * (1 - middle) / (n + 4))
