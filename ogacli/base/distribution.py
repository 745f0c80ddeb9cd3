"""The distribution of numbers that come block by block: exact for few, in fine bins for many.

In: numbers from 0 on. Out: their quantiles, and the sum of the largest. Beyond ``EXACT`` numbers these are
counted by the first bits of their float32 form, with the sum of each bin: quantiles are then right within
0.1 %.
"""

import numpy as np
from jaxtyping import Float

EXACT = 1 << 20
"""Up to so many numbers are kept."""
_DROPPED = 11
"""Last bits of a float32 number that do not count."""
_BINS = 0x7F800000 >> _DROPPED
"""Bins of all finite numbers from 0 on."""


class Distribution:
    """Of numbers from 0 on, which are finite."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._kept: list[Float[np.ndarray, " b"]] = []
        self._counts: Float[np.ndarray, " v"] | None = None
        self._sums: Float[np.ndarray, " v"] | None = None

    def add(self, values: Float[np.ndarray, " b"]) -> None:
        """Add some numbers."""
        self.count += len(values)
        self.total += float(values.sum())
        self._kept.append(values)
        if self.count > EXACT:
            for one in self._kept:
                self._bin(one)
            self._kept.clear()

    def _bin(self, values: Float[np.ndarray, " b"]) -> None:
        if self._counts is None or self._sums is None:
            self._counts, self._sums = np.zeros(_BINS), np.zeros(_BINS)
        place = np.abs(values.astype(np.float32)).view(np.int32) >> _DROPPED
        self._counts += np.bincount(place, minlength=_BINS)
        self._sums += np.bincount(place, values, minlength=_BINS)

    def _ordered(self) -> tuple[Float[np.ndarray, " v"], Float[np.ndarray, " v"]]:
        """Ascending values, and how many of the numbers each stands for."""
        if self._counts is None or self._sums is None:
            values = np.sort(np.concatenate(self._kept)) if self._kept else np.empty(0)
            return values, np.ones(len(values))
        some = self._counts > 0
        return self._sums[some] / self._counts[some], self._counts[some]

    def quantiles(self, shares: list[float]) -> list[float]:
        """The numbers at some shares of all, from 0 to 1."""
        values, counts = self._ordered()
        ends = np.cumsum(counts)
        places = [round(share * (self.count - 1)) for share in shares]
        return [float(values[np.searchsorted(ends, place, side="right")]) for place in places]

    def largest(self, count: int) -> float:
        """The sum of the ``count`` largest numbers."""
        values, counts = self._ordered()
        above = np.cumsum(counts[::-1])
        taken = np.clip(count - (above - counts[::-1]), 0, counts[::-1])
        return float((taken * values[::-1]).sum())
