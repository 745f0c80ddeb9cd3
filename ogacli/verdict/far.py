"""Samples that are far from all others of their class.

In: the distance of each sample to its k-th nearest neighbour in feature space (Ramaswamy, Rastogi and Shim,
Efficient algorithms for mining outliers from large data sets, SIGMOD 2000). Out: for the outstanding ones how
many times the usual distance it is.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_FAR = 3.5
"""Standard deviations of the log distance above its median, estimated from the median deviation."""
_MOST = 0.01
"""No larger share of all samples is far."""
_FEWEST = 50
"""A class with fewer samples is compared with all others."""


def outstanding(distance: Float[Tensor, " n"], group: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The distance as a multiple of the median in its group, where it is outstanding; NaN elsewhere.

    Args:
        distance: To the k-th neighbour; NaN where it is not known.
        group: A number for each group of samples that are compared, such as those of a class.
    """
    found, known = torch.full_like(distance, torch.nan), distance > 0
    if int(known.sum()) < _FEWEST:
        return found
    deviations = torch.full_like(distance, -torch.inf)
    for one in group[known].unique().tolist():
        rows = known & (group == one)
        others = distance[rows if int(rows.sum()) >= _FEWEST else known].log()
        median = others.median()
        spread = 1.4826 * (others - median).abs().median()
        above = distance[rows].log() - median
        found[rows], deviations[rows] = above.exp(), above / spread.clamp_min(1e-6)
    told = torch.zeros_like(known)
    told[deviations.argsort(descending=True, stable=True)[: math.ceil(_MOST * len(distance))]] = True
    return found.masked_fill(~told | (deviations <= _FAR), torch.nan)
