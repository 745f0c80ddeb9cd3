"""The order of samples by their score, in memory that does not grow with their number.

In: a score a sample; higher = more anomalous. Out: ranks, flags, or the rows in order. Ties go to the earlier
row, NaN comes last. Up to ``TOGETHER`` scores are sorted at once; more of them are divided at quantiles of a
few, and each part is sorted by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.blocks import blocks, column, taken

TOGETHER = 1 << 19
"""Scores that are sorted at once."""
_PARTS, _SMALLER = 100, 2
"""Most parts, and by how much they are smaller than ``TOGETHER`` on average."""
_RUNS, _RUN = 64, 1024
"""The quantiles are those of so many runs of so many scores."""


def ranking(scores: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Rows from the highest score to the lowest; ties keep their order, NaN comes last."""
    return scores.nan_to_num(nan=-float("inf")).argsort(descending=True, stable=True)


def ranks(scores: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The rank of each sample, 1 for the highest score; 0 where it is NaN."""
    found, before = torch.from_numpy(column(len(scores), np.int64)), 0
    for rows in ordered(scores):
        found[rows] = torch.arange(before + 1, before + len(rows) + 1)
        before += len(rows)
    return found


def flag(scores: Float[Tensor, " n"], count: int) -> Bool[Tensor, " n"]:
    """The ``count`` highest scores; ties go to the earlier row, NaN is never flagged."""
    found = torch.zeros(len(scores), dtype=torch.bool)
    for rows in ordered(scores):
        found[rows[: max(0, count)]] = True
        count -= len(rows)
        if count <= 0:
            break
    return found


def ordered(scores: Float[Tensor, " n"]) -> Iterator[Int64[Tensor, " m"]]:
    """Rows from the highest score to the lowest, in parts; those without a score are left out."""
    n = len(scores)
    if n <= TOGETHER:
        yield ranking(scores)[: n - int(scores.isnan().sum())]
        return
    cuts = _cuts(scores)
    part = column(n, np.uint8)
    for block in blocks(n):
        part[block] = _parts(scores[block], cuts).numpy()
    for number in range(2 * len(cuts), -1, -1):
        if number % 2:  # all scores are equal
            for block in blocks(n):
                yield block.start + torch.from_numpy((part[block] == number).nonzero()[0])
            continue
        rows = [block.start + (part[block] == number).nonzero()[0] for block in blocks(n)]
        here = torch.from_numpy(np.concatenate(rows))
        values = torch.from_numpy(taken(scores.numpy(), here.numpy()))
        yield here[values.argsort(descending=True, stable=True)]


def _cuts(scores: Float[Tensor, " n"]) -> Float[Tensor, " c"]:
    """Scores that divide them into parts of similar size, ascending; each once."""
    n = len(scores)
    starts = range(0, n - _RUN, max(1, (n - _RUN) // _RUNS))
    some = torch.cat([scores[start : start + _RUN] for start in starts])
    some = some[~some.isnan()].sort().values
    if not len(some):
        return some
    parts = min(_PARTS, max(2, _SMALLER * n // TOGETHER))
    cuts: Tensor = some[torch.arange(1, parts) * len(some) // parts].unique()
    return cuts


def _parts(scores: Float[Tensor, " b"], cuts: Float[Tensor, " c"]) -> Tensor:
    """2 i between the cuts i - 1 and i, 2 i + 1 at the cut i itself, 255 for NaN; uint8."""
    found = torch.searchsorted(cuts, scores) + torch.searchsorted(cuts, scores, right=True)
    parts: Tensor = found.masked_fill(scores.isnan(), 255).to(torch.uint8)
    return parts
