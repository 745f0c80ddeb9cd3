"""Gradients reduced to norms and single coordinates, so that their factors can be freed.

In: gradients, and the norms and coordinates that will be needed. Out: the same gradients with these alone, in
a few kilobytes a sample; the factors of all layers take megabytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.weak import WeakIdRef

from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.layers.part import Factors, Part, PartialSums
from ogacli.gradients.layers.plain import sums
from ogacli.gradients.layers.workspace import planned
from ogacli.models.neighbours.exact import compressed


@dataclass(frozen=True, slots=True)
class Kept(Factors):
    """A part of which only some norms and coordinates are known."""

    p: int
    known: Mapping[int, Float[Tensor, "b m"]]
    """``{order: [b, m]}``: sums of absolute values (1) and of squares (2) over pieces of the gradient."""
    coords: Int64[Tensor, " f"]
    """Ascending."""
    values: Float[Tensor, "b f"]

    @classmethod
    def of(
        cls, gradients: Part | GradientBatch, orders: Sequence[int], coords: Int64[Tensor, " f"]
    ) -> "Kept":
        """Reduce the gradients of one parameter, or of all.

        Args:
            gradients: With all factors.
            orders: The norms to keep: 1, 2, both or none.
            coords: The coordinates to keep, ascending and each once.
        """
        values = gradients.entries(coords)
        known: PartialSums = {}
        if isinstance(gradients, GradientBatch):
            known = {order: found[:, None] for order, found in gradients.sums(orders).items()}
        elif orders and values.device.type == "cpu":
            known = {order: found[:, None] for order, found in sums([gradients], orders).items()}
        elif orders:  # added up in one go when all layers are done
            known = gradients.partial_sums(orders)
        return cls(gradients.p, known, coords, values)

    @classmethod
    def joined(cls, several: Sequence["Kept"]) -> "Kept":
        """Those of several groups of samples, of one parameter and with the same coordinates."""
        first = several[0]
        known = {order: torch.cat([one.known[order] for one in several]) for order in first.known}
        return replace(first, known=known, values=torch.cat([one.values for one in several]))

    @property
    def held(self) -> Iterable[Tensor]:
        """Values and sums; the coordinates are shared between batches."""
        return self.values, *self.known.values()

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """Those that were kept; KeyError for others."""
        return {order: self.known[order] for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The gradient at coordinates that were kept."""
        if coords is self.coords:
            return self.values
        places = planned(coords, ("kept", WeakIdRef(self.coords)), lambda: self._places(coords))
        return self.values if places is None else self.values.index_select(1, places)

    def _places(self, coords: Int64[Tensor, " f"]) -> Int64[Tensor, " f"] | None:
        """The places of coordinates among those that were kept; None where they are the same."""
        return None if torch.equal(coords, self.coords) else torch.searchsorted(self.coords, coords)

    def dense(self) -> Float[Tensor, "b p"]:
        """Not kept."""
        raise NotImplementedError("only some coordinates were kept")

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Kept":
        """The same for some of the samples."""
        known = {order: found[index] for order, found in self.known.items()}
        return replace(self, known=known, values=self.values[index])


def kept(batch: GradientBatch, orders: Sequence[int], coords: Int64[Tensor, " f"]) -> GradientBatch:
    """The batch with norms and coordinates in place of its factors, and compressed features.

    Args:
        batch: With all factors.
        orders: The norms to keep.
        coords: The coordinates to keep, ascending and each once.
    """
    features = None if batch.features is None else compressed(batch.features)
    return replace(batch, features=features, parts=[Kept.of(batch, orders, coords)], columns=None)
