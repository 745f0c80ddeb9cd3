"""How many of the first samples of the ranking are expected to have a wrong label.

In: the probability that each label is wrong, and the estimated share of wrong labels. Out: for some ranks,
how many of the samples up to there are expected to be wrong, and a range.

The probabilities are those of a model of label noise, and too high or too low with it. Their log-odds are
shifted by one number for all samples, so that they add up to the estimated share (as for a change of priors:
Saerens et al., Neural Computation 2002); to the ends of its interval for the range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ogacli.base.blocks import blocks

if TYPE_CHECKING:  # reading a summary needs no torch
    from jaxtyping import Float, Int64
    from torch import Tensor

    from ogacli.verdict.estimate import Estimate

FIRST = (50, 100, 500, 1_000)
_BISECTIONS = 60
_EXACT = 1 << 17
"""Samples whose log-odds are kept one by one."""
_BINS, _HIGHEST = 1 << 13, 28.0
"""Bins of the log-odds of more samples, and the end of the last one."""
_WIDEST = 60.0
"""The largest shift of the log-odds."""


class ExpectedPrecision(BaseModel):
    """Among the first samples of the ranking."""

    model_config = ConfigDict(frozen=True)

    first: int
    """So many samples."""
    wrong: float | None
    """How many of them are expected to be wrong; None where the share of wrong labels cannot be told."""
    low: float
    high: float


def expected_precision(
    wrong: Float[Tensor, " n"], estimate: Estimate | None, first: Int64[Tensor, " m"] | None = None
) -> tuple[ExpectedPrecision, ...]:
    """For the ranks in ``FIRST`` that there are.

    Args:
        wrong: The probability that the label is wrong, of all samples; NaN where they have no score.
        estimate: The share of wrong labels.
        first: The rows of the most anomalous samples, in order; ``max(FIRST)`` where there are as many.
            Left out where ``wrong`` is in that order.
    """
    top = wrong[: max(FIRST)] if first is None else wrong[first]
    if estimate is None or not len(top):
        return ()
    odds, top = _Odds(wrong), _log_odds(top)
    shares = [estimate.low, estimate.high]
    if estimate.share is not None:
        shares.append(estimate.share)
    low, high, *middle = (odds.shifted(top, share).cumsum(0) for share in shares)
    return tuple(
        ExpectedPrecision(
            first=first,
            wrong=float(middle[0][first - 1]) if middle else None,
            low=float(low[first - 1]),
            high=float(high[first - 1]),
        )
        for first in FIRST
        if first <= len(top)
    )


def shifted(wrong: Float[Tensor, " m"], share: float) -> Float[Tensor, " m"]:
    """The probabilities with their log-odds shifted, so that their mean is ``share``; float64."""
    return _Odds(wrong).shifted(_log_odds(wrong), share)


class _Odds:
    """The log-odds of all samples: each of them, or for very many in bins with their mean."""

    def __init__(self, wrong: Float[Tensor, " n"]) -> None:
        import torch

        if len(wrong) <= _EXACT:
            self.values = _log_odds(wrong[~wrong.isnan()])
            self.weights = self.values.new_ones(len(self.values)) / len(self.values)
            return
        counts = torch.zeros(_BINS, dtype=torch.int64)
        sums = torch.zeros(_BINS, dtype=torch.float64)
        for block in blocks(len(wrong)):
            odds = _log_odds(wrong[block][~wrong[block].isnan()])
            place = ((odds + _HIGHEST) * (_BINS / (2 * _HIGHEST))).long().clamp(0, _BINS - 1)
            counts += place.bincount(minlength=_BINS)
            sums += place.bincount(odds, minlength=_BINS)
        some = counts > 0
        self.values = sums[some] / counts[some]
        self.weights = counts[some] / counts.sum()

    def shifted(self, top: Float[Tensor, " m"], share: float) -> Float[Tensor, " m"]:
        """The probabilities of some, with all log-odds shifted so that their mean is ``share``; float64."""
        if not 0 < share < 1:
            return top.new_full(top.shape, float(share >= 1))
        low, high = -_WIDEST, _WIDEST
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            mean = float(((self.values + middle).sigmoid() * self.weights).sum())
            low, high = (middle, high) if mean < share else (low, middle)
        return (top + low).sigmoid()


def _log_odds(wrong: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Of probabilities; float64, finite."""
    return wrong.double().clamp(1e-12, 1 - 1e-12).logit()
