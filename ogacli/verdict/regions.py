"""Regions of masks that are probably wrong: cells that are known by their place in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Int64, Shaped

from ogacli.verdict.cells import CellFindings

if TYPE_CHECKING:  # reading a run needs no torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class RegionFindings(CellFindings):
    """The most doubtful regions of each mask; the index of a region counts those of its mask."""

    region: Int64[Tensor, "n c 6"]
    """The given class, left, top, right and bottom (the last two beyond the region), and the pixels."""

    @property
    def any_wrong(self) -> Float[Tensor, " n"]:
        """The probability that the most doubtful one is wrong: those of one mask are doubtful together."""
        return self.highest

    def part(self, rows: slice) -> RegionFindings:
        """Those of some samples in sequence."""
        return self._of(rows)

    def at(self, rows: Int64[Tensor, " m"]) -> RegionFindings:
        """Those of some samples."""
        return self._of(rows)

    def places(self) -> tuple[Int64[Tensor, "n c"], Int64[Tensor, "n c 4"]]:
        """The given class and the box of each."""
        return self.region[..., 0], self.region[..., 1:5]

    def corrected(self, labels: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
        """The labels themselves: the pixels of a mask are not held, only which classes occur."""
        return labels

    def _of(self, rows: slice | Int64[Tensor, " m"]) -> RegionFindings:
        columns = (self.index, self.wrong, self.suggested, self.margin, self.region)
        return RegionFindings(*(one[rows] for one in columns))
