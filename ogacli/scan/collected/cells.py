"""The most doubtful cells of each label: classes of a sample with several, targets of a regression, words.

In: ``Cells`` batch by batch, one checkpoint after the other. Out: ``CellFindings``; at most 16 cells a
sample, so that memory does not grow with the number of classes.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.detectors import DetectorOptions
from ogacli.detectors._cells import CellDetector, Cells
from ogacli.scan.collected.columns import at_rows, put_at_rows
from ogacli.verdict.cells import CellFindings

_MOST = 16
"""Cells that are kept of a sample: those that are most probably wrong."""


class DoubtfulCells:
    """Cells of n samples.

    Args:
        n: Number of samples.
        cells: Cells of each label; 0 where none are judged.
        device: Where they are kept.
    """

    def __init__(self, n: int, cells: int, device: torch.device) -> None:
        kept = min(cells, _MOST)
        self.index = torch.full((n, kept), -1, dtype=torch.int32, device=device)
        self.wrong = torch.zeros(n, kept, device=device)
        """Weighted sum of the probabilities; 0 where there is no cell."""
        self.suggested = torch.zeros(n, kept, device=device)
        """By the checkpoint that was added last."""
        self.margin = torch.zeros(n, kept, device=device)
        """Of the suggested values."""

    def set(self, rows: Int64[Tensor, " b"], cells: Cells) -> None:
        """Keep those of a batch."""
        here = sent(rows, self.index.device)
        # Sentences of a batch may all be shorter than the longest of the dataset.
        wrong, index = cells.wrong.float().topk(min(self.index.shape[1], cells.wrong.shape[1]))
        kept, none = index.shape[1], wrong < 0
        self.index[here], self.wrong[here] = -1, 0.0
        self.index[here, :kept] = index.int().masked_fill(none, -1)
        self.wrong[here, :kept] = wrong.masked_fill(none, 0.0)
        self.suggested[here, :kept] = cells.suggested.gather(1, index).float()
        self.margin[here, :kept] = cells.margin.gather(1, index).float()

    def add(self, other: "DoubtfulCells", rows: Int64[Tensor, " m"], weight: float) -> None:
        """Add the cells of one more checkpoint for these rows, with a weight.

        A cell that one of them did not keep has the probability 0 there.
        """
        here = rows.to(self.index.device)
        own, new = self.index[here], other.index[here]
        same = (own[:, :, None] == new[:, None, :]) & (own >= 0)[:, :, None]
        added = weight * other.wrong[here]
        wrong = self.wrong[here] + (same * added[:, None, :]).sum(2)
        fresh = ~same.any(1)
        every = torch.cat([wrong, added.masked_fill(~fresh, -1.0)], 1)
        best, place = every.topk(self.index.shape[1])
        self.wrong[here] = best
        self.index[here] = torch.cat([own, new], 1).gather(1, place)
        for name in ("suggested", "margin"):
            kept, last = getattr(self, name), getattr(other, name)[here]
            latest = torch.where(same.any(2), (same * last[:, None, :]).sum(2), kept[here])
            kept[here] = torch.cat([latest, last], 1).gather(1, place)

    def emptied(self) -> "DoubtfulCells":
        """Room for as many cells of as many samples."""
        n, kept = self.index.shape
        return DoubtfulCells(n, kept, self.index.device)

    def findings(self, weight: Float[Tensor, " n"] | None = None) -> CellFindings | None:
        """The means over the checkpoints, on the CPU; None where no cells are judged.

        Args:
            weight: The sum of the weights of each row; 1 where left out.
        """
        if not self.index.shape[1]:
            return None
        wrong = self.wrong.cpu()
        if weight is not None:
            wrong = (wrong / weight.cpu().float()[:, None]).nan_to_num(0.0)
        return CellFindings(
            self.index.cpu().long(), wrong.clamp(0.0, 1.0), self.suggested.cpu(), self.margin.cpu()
        )

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """The cells of some rows, by name."""
        return at_rows(self.tensors(), rows)

    def put(self, rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned."""
        put_at_rows(self.tensors(), rows, found)

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        return dict(vars(self))


def cells_of(options: Sequence[DetectorOptions], labels: Tensor) -> int:
    """The number of cells of each label that some detector judges; 0 without such a detector."""
    judged = any(isinstance(one.detector(), CellDetector) for one in options)
    return max(1, labels[:1].numel()) if judged and len(labels) else 0
