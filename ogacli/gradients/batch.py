"""``GradientBatch``: the per-sample gradients of a batch, as factors that are multiplied only on demand.

The gradient of a batch is a [b, p] matrix that is never formed. It is held as parts, one a layer, side by
side in the order of the layers; each part knows how to answer for its own columns.
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
    """Where the residual is taken: the model's logits for the sample, or those of its neighbours' mean."""
    residual: Float[Tensor, "b k ..."]
    """Gradient of each sample's loss with respect to its logits."""
    features: Float[Tensor, "b h"] | None
    """What the head read; None where that is not known."""
    parts: Sequence[Part]
    columns: "Columns | None" = None
    """Where the parts' columns lie; batches of one computation share it."""
    losses: Float[Tensor, " b"] | None = None
    """The loss of each sample; None for gradients that came from no model."""
    _sums: Sums = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def p(self) -> int:
        """How many parameters the gradients are taken with respect to."""
        return sum(part.p for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes that the batch keeps alive: what is shared counts once, what is a view of more in full."""
        own = (self.rows, self.labels, self.logits, self.residual, self.features, self.losses)
        tensors = [tensor for tensor in own if tensor is not None]
        tensors += [tensor for part in self.parts for tensor in part.held]
        storages = [tensor.untyped_storage() for tensor in tensors]
        return sum({storage._cdata: storage.nbytes() for storage in storages}.values())

    def norm(self, order: int) -> Float[Tensor, " b"]:
        """The exact L1 (``order=1``) or L2 (``order=2``) norm of each sample's gradient, float64."""
        return self.norms([order])[order]

    def norms(self, orders: Sequence[int]) -> Sums:
        """Several norms by their order; computed together they share what they are computed from.

        What was computed is remembered, so that it pays to ask for all that will be needed at once.
        """
        for order in orders:
            if order not in (1, 2):
                raise ValueError(f"order {order}: 1 or 2")
        missing = [order for order in orders if order not in self._sums]
        if missing:
            found = [part.sums(missing) for part in self.parts]
            for order in missing:
                self._sums[order] = torch.stack([sums[order] for sums in found]).sum(0)
        return {order: self._sums[order].sqrt() if order == 2 else self._sums[order] for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The exact gradient at f of the p coordinates; O(b f), whatever p is."""
        if len(self.parts) == 1:
            return self.parts[0].entries(coords)
        columns = self.columns or Columns([part.p for part in self.parts])
        found = self.residual.new_empty(len(self), len(coords))
        for index, here, local in columns.split(coords):
            found[:, here] = self.parts[index].entries(local).to(found.dtype)
        return found

    def dense(self) -> Float[Tensor, "b p"]:
        """The whole matrix: b * p numbers, for small p."""
        return torch.cat([part.dense() for part in self.parts], 1)

    def project(self, dim: int, seed: int) -> Float[Tensor, "b dim"]:
        """A seeded random projection that keeps inner products in expectation; O(b p)."""
        return projected(self.parts, self.residual, dim, seed)

    def reduced(self, dim: int, seed: int) -> Float[Tensor, "b d"]:
        """The whole matrix where it has at most ``dim`` columns, its projection otherwise."""
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
    """Which part each coordinate belongs to."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._ends = torch.tensor(sizes).cumsum(0)
        self._sizes = torch.tensor(sizes)
        self._known: tuple[weakref.ref[Tensor], int, list[tuple[int, Tensor, Tensor]]] | None = None

    def split(
        self, coords: Int64[Tensor, " f"]
    ) -> list[tuple[int, Int64[Tensor, " g"], Int64[Tensor, " g"]]]:
        """For each part that is asked: its index, which of the coordinates, and where in the part they lie.

        A detector asks for the same coordinates of every batch, so the last answer is kept.
        """
        if self._known is not None:
            last, version, answer = self._known
            if last() is coords and version == coords._version:
                return answer
        ends = self._ends.to(coords.device)
        owner = torch.bucketize(coords, ends, right=True)
        local = coords - (ends - self._sizes.to(coords.device))[owner]
        answer = []
        for index in owner.unique().tolist():
            here = (owner == index).nonzero()[:, 0]
            answer.append((index, here, local[here]))
        if not coords.is_inference():
            self._known = weakref.ref(coords), coords._version, answer
        return answer
