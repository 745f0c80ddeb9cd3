"""Boxes of pictures that are probably wrong, missing, under another class or badly placed.

In: the judgement on each box. Out: ``BoxFindings``, which give the corrected numbers of boxes as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from jaxtyping import Float, Int64, Shaped

from ogacli.verdict.cells import CellFindings

if TYPE_CHECKING:  # reading a run needs no torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BoxFindings(CellFindings):
    """The most doubtful boxes of each picture; a cell is a given box, or a missing one."""

    given: Int64[Tensor, "n c"]
    """The class of the box; -1 of a missing one."""
    boxes: Float[Tensor, "n c 8"]
    """The corners of the given box (of a missing one NaN), and of the one to put in its place."""

    @property
    def any_wrong(self) -> Float[Tensor, " n"]:
        """The probability that the most doubtful one is wrong: those of one picture are doubtful together."""
        return self.highest

    def part(self, rows: slice) -> BoxFindings:
        """Those of some pictures in sequence."""
        return self._of(rows)

    def at(self, rows: Int64[Tensor, " m"]) -> BoxFindings:
        """Those of some pictures."""
        return self._of(rows)

    def places(self) -> tuple[Int64[Tensor, "n c"], Float[Tensor, "n c 4"]]:
        """The class of each given box, and its corners; of missing ones -1, and where they should be."""
        own, other = self.boxes.split(4, dim=-1)
        return self.given, own.where(self.given[..., None] >= 0, other)

    def corrected(self, labels: Shaped[Tensor, "n k"]) -> Shaped[Tensor, "n k"]:
        """The numbers of boxes of each class, without wrong ones and with those that are suggested."""
        found = labels.clone()
        row, place = self.doubted.nonzero(as_tuple=True)
        for classes, change in ((self.given, -1.0), (self.suggested.long(), 1.0)):
            kind = classes[row, place]
            known = kind >= 0
            found.index_put_((row[known], kind[known]), found.new_tensor(change), accumulate=True)
        return found.clamp_min(0)

    def _of(self, rows: slice | Int64[Tensor, " m"]) -> BoxFindings:
        return BoxFindings(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})
