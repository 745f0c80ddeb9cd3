"""Embeddings: the gradient of a table row is the sum of the output gradients at the positions that use it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers import NotCovered, Reading, reads
from ogacli.gradients.layers.part import Factors, Part, PartialSums
from ogacli.gradients.layers.workspace import at_a_time, picked


@dataclass(frozen=True, slots=True)
class Table(Factors):
    """The gradients of a table [count, h], of which at most t rows a sample are not zero."""

    keys: Int64[Tensor, "b t"]
    """Indices of the rows. A row with a gradient that is not zero occurs once a sample."""
    d: Float[Tensor, "b t h"]
    """The gradients of these rows."""
    count: int
    """Number of rows of the table."""

    @property
    def p(self) -> int:
        """Number of weights."""
        return self.count * self.d.shape[2]

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """Of the rows that are not zero."""
        found: PartialSums = {}
        if 2 in orders:
            found[2] = self.d.square().sum(-1)
        if 1 in orders:
            found[1] = self.d.abs().sum(-1)
        return found

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The gradient at the positions whose key is the entry's row."""
        b, t, h = self.d.shape
        found = self.d.new_empty(b, len(coords))
        for some in torch.arange(len(coords), device=coords.device).split(at_a_time(b * t, coords.device)):
            match = self.keys[:, :, None] == coords[some] // h
            found[:, some] = picked(self.d, coords[some] % h, "picked d").mul_(match).sum(1)
        return found

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Some rows of the table, zeros included."""
        b, _, h = self.d.shape
        found = self.d.new_zeros(b, stop - start + 1, h)
        inside = (self.keys >= start) & (self.keys < stop)
        place = torch.where(inside, self.keys - start, stop - start)
        found.scatter_add_(1, place[:, :, None].expand_as(self.d), self.d)
        return found[:, :-1].contiguous()

    def dense(self) -> Float[Tensor, "b p"]:
        """The whole tables, flattened."""
        return self.rows(0, self.count, self.d.shape[2]).flatten(1)


@reads(F.embedding)
def embedding(
    reading: Reading,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Iterator[tuple[Tensor, Part]]:
    """Rows of a table by their index."""
    if max_norm is not None or scale_grad_by_freq:
        raise NotCovered("an embedding that renormalises its rows or scales by frequency")
    if not reading.wants(weight):
        return
    if reading.axis.dim >= input.ndim:
        raise NotCovered("an embedding whose features are the samples")
    count = len(weight)
    keys = reading.first(input).reshape(reading.b, -1)
    d = reading.gradient.reshape(reading.b, -1, weight.shape[1])
    if padding_idx is not None:
        d = d.masked_fill((keys == padding_idx % count)[:, :, None], 0)
    yield weight, merged(keys, d, count)


def merged(keys: Int64[Tensor, "b t"], d: Float[Tensor, "b t h"], count: int) -> Table:
    """Add up the gradients of positions of a sample that use the same row."""
    order = keys.argsort(dim=1, stable=True)
    keys = keys.gather(1, order)
    fresh = torch.ones_like(keys, dtype=torch.bool)
    fresh[:, 1:] = keys[:, 1:] != keys[:, :-1]
    place = (fresh.cumsum(1) - 1)[:, :, None].expand_as(d)
    total = torch.zeros_like(d).scatter_add_(1, place, d.gather(1, order[:, :, None].expand_as(d)))
    return Table(torch.zeros_like(keys).scatter_(1, place[:, :, 0], keys), total, count)
