"""The most doubtful boxes of each picture, at most 16, so that memory does not grow with the boxes.

In: ``BoxCells`` batch by batch, one checkpoint after the other. Out: ``BoxFindings``.
"""

from dataclasses import fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.detectors._cells import Cells
from ogacli.detectors.latent_boxes import CELLS, BoxCells
from ogacli.scan.collected.cells import DoubtfulCells
from ogacli.verdict.boxes import BoxFindings


class DoubtfulBoxes(DoubtfulCells):
    """Boxes of n pictures.

    Args:
        n: Number of pictures.
        cells: 0 where no boxes are judged.
        device: Where they are kept.
    """

    def __init__(self, n: int, cells: int, device: torch.device) -> None:
        super().__init__(n, CELLS if cells else 0, device)
        kept = self.index.shape[1]
        self.given = torch.full((n, kept), -1, dtype=torch.int32, device=device)
        self.boxes = torch.full((n, kept, 8), torch.nan, device=device)

    def set(self, rows: Int64[Tensor, " b"], cells: Cells) -> None:
        """Keep those of a batch."""
        assert isinstance(cells, BoxCells)
        here = sent(rows, self.index.device)
        for name, kept in self.tensors().items():
            kept[here] = getattr(cells, name).to(kept)

    def add(self, other: DoubtfulCells, rows: Int64[Tensor, " m"], weight: float) -> None:
        """Take the boxes of a later checkpoint for these rows, as missing ones have no number in common.

        Args:
            other: Of that checkpoint.
            rows: Which rows it scored.
            weight: Of its scores; not used.
        """
        here = rows.to(self.index.device)
        for name, kept in self.tensors().items():
            kept[here] = other.tensors()[name][here]

    def emptied(self) -> "DoubtfulBoxes":
        """Room for the boxes of as many pictures."""
        n, kept = self.index.shape
        return DoubtfulBoxes(n, kept, self.index.device)

    def findings(self, weight: Float[Tensor, " n"] | None = None) -> BoxFindings | None:
        """Those of the last checkpoint that counts, on the CPU.

        Args:
            weight: The sum of the weights of each row; not used.
        """
        found = super().findings()
        if found is None:
            return None
        columns = {name: value.cpu() for name, value in (("given", self.given.long()), ("boxes", self.boxes))}
        return BoxFindings(**{one.name: getattr(found, one.name) for one in fields(found)}, **columns)
