"""Gradients of which only a few coordinates and the norms are kept, so that the factors can go.

In: a ``GradientBatch`` and what will be asked of it. Out: one that answers just that, from a few kilobytes a
sample, where the factors of all layers take megabytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.batch import Columns, GradientBatch
from ogacli.gradients.layers.part import Part, Sums
from ogacli.models.neighbours.exact import compressed


@dataclass(frozen=True, slots=True)
class Kept:
    """A part that has been asked already; anything else it cannot answer."""

    p: int
    known: Mapping[int, Float[Tensor, " b"]]
    """``{order: [b]}``: sums of absolute values (1) and of squares (2)."""
    coords: Int64[Tensor, " f"]
    """Ascending."""
    values: Float[Tensor, "b f"]

    @property
    def held(self) -> Iterable[Tensor]:
        """The values and sums; the coordinates are shared between batches."""
        return self.values, *self.known.values()

    def sums(self, orders: Sequence[int]) -> Sums:
        """The sums that were kept."""
        return {order: self.known[order] for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Coordinates that were kept."""
        return self.values.index_select(1, torch.searchsorted(self.coords, coords))

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Not kept."""
        raise NotImplementedError("only some coordinates were kept")

    def dense(self) -> Float[Tensor, "b p"]:
        """Not kept."""
        raise NotImplementedError("only some coordinates were kept")

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Kept":
        """The same for some of the samples."""
        known = {order: sums[index] for order, sums in self.known.items()}
        return Kept(self.p, known, self.coords, self.values[index])


class Asked:
    """All that batches of gradients will be asked, known before they are computed.

    Args:
        orders: The norms.
        coords: The coordinates, ascending and each once.
        columns: Where the columns of each parameter lie.
    """

    def __init__(self, orders: Sequence[int], coords: Int64[Tensor, " f"], columns: Columns) -> None:
        self.orders = tuple(orders)
        self._local = {index: local for index, _, local in columns.split(coords)}
        self._none = coords[:0]

    def answered(self, index: int, part: Part) -> Kept:
        """The part of a parameter, asked; its factors can go.

        Args:
            index: Of the parameter among the selected ones.
            part: Its whole gradient.
        """
        local = self._local.get(index, self._none)
        known = part.sums(self.orders) if self.orders else {}
        return Kept(part.p, known, local, part.entries(local))


def kept(batch: GradientBatch, orders: Sequence[int], coords: Int64[Tensor, " f"]) -> GradientBatch:
    """The batch without its factors; what is left of its features tells who is near whom.

    Args:
        batch: What to ask now.
        orders: The norms that will be asked for.
        coords: The coordinates that will be asked for, ascending and each once.
    """
    norms = batch.norms(orders)
    sums = {order: norms[order].square() if order == 2 else norms[order] for order in orders}
    part = Kept(batch.p, sums, coords, batch.entries(coords))
    features = None if batch.features is None else compressed(batch.features)
    return replace(batch, features=features, parts=[part], columns=None)
