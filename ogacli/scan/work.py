"""How much work samples are, for the time that is left.

In: rows, and how many of them are read together. Out: the work of each, in a unit in which equal amounts take
about equal time; and an order in which what is done at any time is like what is left.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.data import Samples

_BESIDE = 20
"""What a text costs beside its characters, as so many characters."""
_STRIDE = (5**0.5 - 1) / 2
"""Multiples of the golden ratio, modulo 1, spread evenly, however many there are."""


class Work:
    """The work of some samples.

    Args:
        samples: The dataset.
        rows: In the order in which they are read.
        read: How many are read together; they are padded to the longest of them.
    """

    def __init__(self, samples: Samples, rows: Int64[Tensor, " m"], read: int) -> None:
        lengths = samples.lengths(rows)
        self._rows, self._each = rows, None
        if lengths is not None and len(rows):
            padded = torch.cat([one.max().expand(len(one)) for one in lengths.split(read)]) + _BESIDE
            self._rows, order = rows.sort()
            self._each = padded[order]

    def of(self, rows: Int64[Tensor, " b"]) -> float:
        """The work of some of them."""
        if self._each is None:
            return float(len(rows))
        return float(self._each[torch.searchsorted(self._rows, rows)].sum())


def in_order(samples: Samples, rows: Int64[Tensor, " m"], read: int) -> Int64[Tensor, " m"]:
    """Rows in the order in which they are scored: samples of about one length are read together.

    The longest are read first, as they need the most memory. The other reads follow evenly mixed, so that
    what is done is like what is left: long samples take more time than their length tells.

    Args:
        samples: The dataset.
        rows: Without order.
        read: How many are read together.
    """
    if not len(rows) or samples.lengths(rows[:1]) is None:
        return rows
    first, *others = samples.longest_first(rows).split(read)
    # A read of fewer samples stays last: where others are done, the rest is then put together as before.
    last = [others.pop()] if len(rows) % read and others else []
    order = (torch.arange(1, len(others) + 1, dtype=torch.float64) * _STRIDE % 1).argsort()
    return torch.cat([first, *(others[i] for i in order.tolist()), *last])
