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

if TYPE_CHECKING:  # reading a summary needs no torch
    from jaxtyping import Float
    from torch import Tensor

    from ogacli.verdict.estimate import Estimate

FIRST = (50, 100, 500, 1_000)
_BISECTIONS = 60
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
    wrong: Float[Tensor, " m"], estimate: Estimate | None
) -> tuple[ExpectedPrecision, ...]:
    """For the ranks in ``FIRST`` that there are.

    Args:
        wrong: The probability that the label is wrong, of the scored samples, most anomalous first.
        estimate: The share of wrong labels.
    """
    if estimate is None or not len(wrong):
        return ()
    shares = [estimate.low, estimate.high]
    if estimate.share is not None:
        shares.append(estimate.share)
    low, high, *middle = (shifted(wrong, share).cumsum(0) for share in shares)
    return tuple(
        ExpectedPrecision(
            first=first,
            wrong=float(middle[0][first - 1]) if middle else None,
            low=float(low[first - 1]),
            high=float(high[first - 1]),
        )
        for first in FIRST
        if first <= len(wrong)
    )


def shifted(wrong: Float[Tensor, " m"], share: float) -> Float[Tensor, " m"]:
    """The probabilities with their log-odds shifted, so that their mean is ``share``; float64."""
    odds = wrong.double().clamp(1e-12, 1 - 1e-12).logit()
    if not 0 < share < 1:
        return odds.new_full(odds.shape, float(share >= 1))
    low, high = -_WIDEST, _WIDEST
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if float((odds + middle).sigmoid().mean()) < share else (low, middle)
    return (odds + low).sigmoid()
