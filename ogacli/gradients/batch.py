"""``GradientBatch``: the per-sample gradients of a batch, as factors that are multiplied on demand.

They are a [b, p] matrix that is not formed. Each part holds the factors of some of its columns, those of one
parameter; the parts lie side by side in the order of the parameters.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from ogacli.gradients.layers.part import Part, Sums
from ogacli.gradients.projections import projected


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
    returns_loss: bool = False
    """True where ``logits`` are parts of the loss, as the network returned them (``Task.returns_loss``)."""
    _sums: Sums = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

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
        sums = self.sums(orders)
        return {order: sums[order].sqrt() if order == 2 else sums[order] for order in orders}

    def sums(self, orders: Sequence[int]) -> Sums:
        """For each sample the sum of absolute values (order 1) and of squares (order 2), float64."""
        for order in orders:
            if order not in (1, 2):
                raise ValueError(f"order {order}: 1 or 2")
        missing = [order for order in orders if order not in self._sums]
        if missing:
            found = [part.sums(missing) for part in self.parts]
            for order in missing:
                self._sums[order] = torch.stack([sums[order] for sums in found]).sum(0)
        return {order: self._sums[order] for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The exact gradient at f of the p coordinates; O(b f), independent of p."""
        if len(self.parts) == 1:
            return self.parts[0].entries(coords)
        columns = self.columns or Columns([part.p for part in self.parts])
        found = self.residual.new_empty(len(self), len(coords))
        for index, here, local in columns.split(coords):
            found[:, here] = self.parts[index].entries(local).to(found.dtype)
        return found

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
        return replace(
            self,
            rows=self.rows[host],
            labels=self.labels[index],
            logits=self.logits[index],
            residual=self.residual[index],
            features=None if self.features is None else self.features[index],
            losses=None if self.losses is None else self.losses[index],
            parts=[part.select(index) for part in self.parts],
        )


class Columns:
    """Maps coordinates to parts.

    Args:
        sizes: Number of columns of each part.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = torch.tensor(sizes)
        self._ends = self._sizes.cumsum(0)
        self._cached: tuple[weakref.ref[Tensor], int, list[tuple[int, Tensor, Tensor]]] | None = None

    def split(
        self, coords: Int64[Tensor, " f"]
    ) -> list[tuple[int, Int64[Tensor, " g"], Int64[Tensor, " g"]]]:
        """Group coordinates by part.

        The last result is cached, as a detector needs the same coordinates of every batch.

        Returns:
            For each part that holds some of them: its index, the places of these in ``coords``, and the
            coordinates counted from the part's first column.
        """
        if self._cached is not None:
            last, version, found = self._cached
            if last() is coords and version == coords._version:
                return found
        ends = self._ends.to(coords.device)
        owner = torch.bucketize(coords, ends, right=True)
        local = coords - (ends - self._sizes.to(coords.device))[owner]
        found = []
        for index in owner.unique().tolist():
            here = (owner == index).nonzero()[:, 0]
            found.append((index, here, local[here]))
        if not coords.is_inference():
            self._cached = weakref.ref(coords), coords._version, found
        return found
