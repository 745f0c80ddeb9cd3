"""Samples that are far from all others of their class.

In: the distance of each sample to its k-th nearest neighbour in feature space (Ramaswamy, Rastogi and Shim,
Efficient algorithms for mining outliers from large data sets, SIGMOD 2000). Out: for the outstanding ones how
many times the usual distance it is.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_FAR = 3.0
"""Standard deviations of the log distance above its median, estimated from the median deviation."""
_FEWEST = 50
"""A class with fewer samples is compared with all others."""


def outstanding(distance: Float[Tensor, " n"], group: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The distance as a multiple of the median in its group, where it is outstanding; NaN elsewhere.

    Args:
        distance: To the k-th neighbour; NaN where it is not known.
        group: A number for each group of samples that are compared, such as those of a class.
    """
    found = torch.full_like(distance, torch.nan)
    known = distance > 0
    rest = torch.zeros_like(known)
    for one in group[known].unique().tolist():
        rows = known & (group == one)
        if int(rows.sum()) < _FEWEST:
            rest |= rows
        else:
            found[rows] = _multiples(distance[rows], distance[rows])
    if rest.any() and int(known.sum()) >= _FEWEST:
        found[rest] = _multiples(distance[rest], distance[known])
    return found


def _multiples(distance: Float[Tensor, " m"], others: Float[Tensor, " o"]) -> Float[Tensor, " m"]:
    usual = others.log()
    median = usual.median()
    spread = 1.4826 * (usual - median).abs().median()
    above = distance.log() - median
    return above.exp().masked_fill(above <= _FAR * spread, torch.nan)
