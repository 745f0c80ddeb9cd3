"""The most doubtful regions of each mask, batch by batch, one checkpoint after the other."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.detectors._cells import Cells
from ogacli.detectors.latent_mask import MOST, RegionCells
from ogacli.scan.collected.cells import DoubtfulCells
from ogacli.verdict.regions import RegionFindings

_SAME = 0.5
"""Regions of two checkpoints are the same where their boxes have this part of their union in common."""


class DoubtfulRegions(DoubtfulCells):
    """Regions of n masks.

    Args:
        n: Number of samples.
        cells: 0 where no regions are judged.
        device: Where they are kept.
    """

    def __init__(self, n: int, cells: int, device: torch.device) -> None:
        super().__init__(n, MOST if cells else 0, device)
        self.region = torch.zeros(*self.index.shape, 6, dtype=torch.int64, device=device)
        """The given class, left, top, right, bottom, and the pixels."""

    def set(self, rows: Int64[Tensor, " b"], cells: Cells) -> None:
        """Keep those of a batch."""
        assert isinstance(cells, RegionCells)
        here = sent(rows, self.index.device)
        self.wrong[here], self.suggested[here] = cells.wrong.float(), cells.suggested.float()
        self.region[here] = cells.region
        self.index[here] = _numbered(cells.region)

    def add(self, other: DoubtfulCells, rows: Int64[Tensor, " m"], weight: float) -> None:
        """Add the regions of one more checkpoint for these rows, with a weight.

        A region that one of them does not have has the probability 0 there.
        """
        assert isinstance(other, DoubtfulRegions)
        here = rows.to(self.index.device)
        own, new = self.region[here], other.region[here]
        both = [(own[:, :, None] == new[:, None])[..., 0], _overlap(own, new) >= _SAME]
        same = both[0] & both[1] & (new[:, None, :, 5] > 0)
        same &= same.long().cumsum(2) == 1  # each region has at most one partner
        same &= same.long().cumsum(1) == 1
        added = weight * other.wrong[here]
        wrong = torch.cat([self.wrong[here] + (same * added[:, None]).sum(2), added], 1)
        fresh = torch.cat([own[..., 5] > 0, ~same.any(1) & (new[..., 5] > 0)], 1)
        best, place = wrong.masked_fill(~fresh, -1.0).topk(own.shape[1])
        self.wrong[here] = best.clamp_min(0.0)
        every = torch.cat([own, new], 1).gather(1, place[..., None].expand(-1, -1, 6))
        self.region[here] = every * (best >= 0)[..., None]
        self.suggested[here] = torch.cat([self.suggested[here], other.suggested[here]], 1).gather(1, place)
        self.index[here] = _numbered(self.region[here])

    def emptied(self) -> "DoubtfulRegions":
        """Room for as many regions of as many samples."""
        n, kept = self.index.shape
        return DoubtfulRegions(n, kept, self.index.device)

    def findings(self, weight: Float[Tensor, " n"] | None = None) -> RegionFindings | None:
        """The means over the checkpoints, on the CPU; None where no regions are judged.

        Args:
            weight: The sum of the weights of each row; 1 where left out.
        """
        found = super().findings(weight)
        if found is None:
            return None
        return RegionFindings(found.index, found.wrong, found.suggested, found.margin, self.region.cpu())


def _numbered(region: Int64[Tensor, "b m 6"]) -> Tensor:
    """The number of each region in its mask; -1 where there is none."""
    number = torch.arange(region.shape[1], dtype=torch.int32, device=region.device)
    return torch.where(region[..., 5] > 0, number, -1)


def _overlap(one: Int64[Tensor, "b m 6"], other: Int64[Tensor, "b l 6"]) -> Float[Tensor, "b m l"]:
    """Intersection over union of all boxes."""
    a, c = one[:, :, None, 1:5], other[:, None, :, 1:5]
    sides = (torch.minimum(a[..., 2:], c[..., 2:]) - torch.maximum(a[..., :2], c[..., :2])).clamp_min(0)
    inside = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (c[..., 2:] - c[..., :2]).prod(-1) - inside
    return inside / union.clamp_min(1)
