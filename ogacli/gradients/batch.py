"""``GradientBatch``: the per-sample gradients of a batch, as factors that are multiplied on demand.

They are a [b, p] matrix that is not formed. Each part holds the factors of some of its columns, those of one
parameter; the parts lie side by side in the order of the parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from ogacli.base.device import sent
from ogacli.gradients.layers.part import Part, Sums
from ogacli.gradients.layers.plain import sums
from ogacli.gradients.layers.workspace import planned
from ogacli.gradients.projections import projected


class Objects(NamedTuple):
    """The given boxes of a picture and those that the network finds, on the CPU; corners in pixels."""

    boxes: Float[Tensor, "m 4"]
    classes: Int64[Tensor, " m"]
    found: Float[Tensor, "q 4"]
    found_classes: Int64[Tensor, " q"]
    scores: Float[Tensor, " q"]


@dataclass(frozen=True, slots=True)
class GradientBatch:
    """Per-sample gradients of b samples with respect to p parameters, not computed yet."""

    rows: Int64[Tensor, " b"]
    """Which rows of the ``Samples``; on the CPU."""
    labels: Shaped[Tensor, "b ..."]
    logits: Float[Tensor, "b k ..."]
    """Where the residual is taken: the logits of the sample, or those of its neighbours' mean prediction."""
    residual: Float[Tensor, "b k ..."]
    """Gradient of each sample's loss with respect to its logits."""
    features: Float[Tensor, "b h"] | None
    """The input of the head; None where it is unknown."""
    parts: Sequence[Part]
    columns: "Columns | None" = None
    """Maps coordinates to parts; shared by the batches of one computation."""
    losses: Float[Tensor, " b"] | None = None
    """The loss of each sample; None for gradients that came from no model."""
    objects: Sequence[Objects] | None = None
    """Of object detectors, one a sample."""
    returns_loss: bool = False
    """True where ``logits`` are parts of the loss, as the network returned them (``Task.returns_loss``)."""
    _sums: Sums = field(default_factory=dict, init=False, repr=False, compare=False)
    _places: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def places(self) -> Int64[Tensor, " b"]:
        """``rows`` on the device of the gradients; copied once."""
        if not self._places:
            self._places.append(sent(self.rows, self.residual.device))
        return self._places[0]

    @property
    def p(self) -> int:
        """Number of parameters, counting each weight."""
        return sum(part.p for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes that the batch keeps in memory; shared memory counts once, that of a view in full."""
        own = (self.rows, self.labels, self.logits, self.residual, self.features, self.losses)
        held = (tensor for part in self.parts for tensor in part.held)
        storages = [tensor.untyped_storage() for tensor in (*own, *held) if tensor is not None]
        return sum({storage._cdata: storage.nbytes() for storage in storages}.values())

    def norm(self, order: int) -> Float[Tensor, " b"]:
        """The exact L1 (``order=1``) or L2 (``order=2``) norm of each sample's gradient, float64."""
        return self.norms([order])[order]

    def norms(self, orders: Sequence[int]) -> Sums:
        """Several norms by their order, float64.

        Computed in one call they share work; the results are cached.
        """
        found = self.sums(orders)
        return {order: found[order].sqrt() if order == 2 else found[order] for order in orders}

    def sums(self, orders: Sequence[int]) -> Sums:
        """For each sample the sum of absolute values (order 1) and of squares (order 2), float64."""
        for order in orders:
            if order not in (1, 2):
                raise ValueError(f"order {order}: 1 or 2")
        missing = [order for order in orders if order not in self._sums]
        if missing:
            self._sums.update(sums(self.parts, missing))
        return {order: self._sums[order] for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The exact gradient at f of the p coordinates; O(b f), independent of p."""
        if len(self.parts) == 1:
            return self.parts[0].entries(coords)
        columns = self.columns or Columns([part.p for part in self.parts])
        by_part, places = columns.distinct(coords)
        if not by_part:
            return self.residual.new_empty(len(self), 0)
        values = torch.cat([self.parts[index].entries(local) for index, local in by_part], 1)
        return values.index_select(1, places)

    def dense(self) -> Float[Tensor, "b p"]:
        """The whole matrix; for small p."""
        return torch.cat([part.dense() for part in self.parts], 1)

    def project(self, dim: int, seed: int) -> Float[Tensor, "b dim"]:
        """A seeded random projection, which preserves inner products in expectation; O(b p)."""
        return projected(self.parts, self.residual, dim, seed)

    def reduced(self, dim: int, seed: int) -> Float[Tensor, "b d"]:
        """The whole matrix where p <= dim, its projection otherwise."""
        return self.dense() if self.p <= dim else self.project(dim, seed)

    def select(self, index: Int64[Tensor, " c"] | slice) -> "GradientBatch":
        """The gradients of some of the samples; a slice copies nothing."""
        host = index if isinstance(index, slice) else index.cpu()
        return self.taken(host, index)

    def taken(self, host: Int64[Tensor, " c"] | slice, index: Int64[Tensor, " c"] | slice) -> "GradientBatch":
        """The gradients of some of the samples, whose index is known on the CPU and on the device."""
        return replace(
            self,
            rows=self.rows[host],
            labels=self.labels[index],
            logits=self.logits[index],
            residual=self.residual[index],
            features=None if self.features is None else self.features[index],
            losses=None if self.losses is None else self.losses[index],
            objects=None if self.objects is None else _taken(self.objects, host),
            parts=[part.select(index) for part in self.parts],
        )


def _taken(objects: Sequence[Objects], index: Int64[Tensor, " c"] | slice) -> Sequence[Objects]:
    return objects[index] if isinstance(index, slice) else [objects[i] for i in index.tolist()]


class Columns:
    """Maps coordinates to parts.

    Args:
        sizes: Number of columns of each part.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)

    def split(
        self, coords: Int64[Tensor, " f"]
    ) -> list[tuple[int, Int64[Tensor, " g"], Int64[Tensor, " g"]]]:
        """Group coordinates by part; done once for each tensor of coordinates, as each batch needs the same.

        Returns:
            For each part that holds some of them: its index, the places of these in ``coords``, and the
            coordinates counted from the part's first column.
        """
        return planned(coords, ("split", self._sizes), lambda: self._split(coords))

    def distinct(
        self, coords: Int64[Tensor, " f"]
    ) -> tuple[list[tuple[int, Int64[Tensor, " g"]]], Int64[Tensor, " f"]]:
        """The distinct ones of the coordinates by part, and the place of each coordinate among them.

        Returns:
            For each part its index and coordinates counted from its first column, ascending; and for each of
            ``coords`` its place among all of these.
        """

        def find() -> tuple[list[tuple[int, Tensor]], Tensor]:
            every, places = torch.unique(coords, return_inverse=True)
            return [(index, local) for index, _, local in self._split(every)], places

        return planned(coords, ("distinct", self._sizes), find)

    def _split(self, coords: Tensor) -> list[tuple[int, Tensor, Tensor]]:
        sizes = torch.tensor(self._sizes)
        ends = sizes.cumsum(0)
        here = coords.cpu()
        owner = torch.bucketize(here, ends, right=True)
        order = owner.argsort(stable=True)
        local = sent((here - (ends - sizes)[owner])[order], coords.device)
        counts = owner.bincount(minlength=len(sizes)).tolist()
        parts = zip(counts, sent(order, coords.device).split(counts), local.split(counts), strict=True)
        return [(index, own, inside) for index, (count, own, inside) in enumerate(parts) if count]
