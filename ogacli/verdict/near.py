"""Which sample of a group of near-duplicates is kept, and which samples are in another dataset as well.

In: the group of each sample, and its score. Out: columns of ``Findings``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.data.ids import Ids

_ROUNDING = 1e-4
"""Relative difference of equal scores. They are computed from float32, in batches that may be put together
otherwise; probabilities near 0, as exp(-46), lose some digits more."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """The samples that are in another dataset as well."""

    rows: Int64[Tensor, " n"]
    """The row of the first near-duplicate there; -1 where there is none."""
    ids: Ids
    """Of the other dataset."""

    def part(self, rows: slice) -> Leaks:
        """Those of some samples."""
        return Leaks(self.rows[rows], self.ids)


def kept_of(group: Int64[Tensor, " n"], score: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """For each sample that should go the one of its group that stays; -1 for all others.

    The least anomalous one stays, whose label is most probably right; of equal ones (up to rounding) the
    first.

    Args:
        group: A number for each group.
        score: Higher = more anomalous; NaN where a sample has none.
    """
    n = len(group)
    numbers, group = group.unique(return_inverse=True)
    known = score.nan_to_num(nan=torch.inf).to(torch.float64)
    lowest = torch.full((len(numbers),), torch.inf, dtype=torch.float64)
    lowest.scatter_reduce_(0, group, known, "amin")
    rows = torch.arange(n)
    stays = torch.full((len(numbers),), n)
    equal = torch.isclose(known, lowest[group], rtol=_ROUNDING, atol=0)
    stays.scatter_reduce_(0, group, torch.where(equal, rows, n), "amin")
    kept = stays[group]
    return torch.where(kept == rows, -1, kept)


def leaked(group: Int64[Tensor, " m"], n: int, ids: Ids) -> Leaks:
    """The samples that are in a group with one of another dataset.

    Args:
        group: Of all samples of both, a number for each group.
        n: How many of them are scanned; those of the other dataset follow.
        ids: Of the other dataset.
    """
    m = len(group)
    first = torch.full((int(group.max()) + 1,), m)
    first.scatter_reduce_(0, group[n:], torch.arange(n, m), "amin")
    other = first[group[:n]]
    return Leaks(torch.where(other < m, other - n, -1), ids)
