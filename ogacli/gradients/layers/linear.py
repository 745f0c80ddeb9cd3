"""Linear layers: the gradient of the weight is a sum of outer products over the positions of a sample.

For ``y = W a + b`` and output gradient d, the gradient of W is d a', that of b is d. Coordinates run over
W row by row, then over b, the order of ``torch.nn.utils.parameters_to_vector``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers import NotCovered, Reading, reads
from ogacli.gradients.layers.part import Factors, Part, PartialSums
from ogacli.gradients.layers.plain import (
    Plain,
    columns,
    one_below_the_other,
    row_sums,
    side_by_side,
    summed,
)
from ogacli.gradients.layers.workspace import at_a_time, borrowed, picked, planned, written

__all__ = ["Outer", "Plain", "Positions"]


@dataclass(frozen=True, slots=True)
class Outer(Factors):
    """Factors of the gradients of a linear layer with one position a sample; bias included if ``bias``."""

    a: Float[Tensor, "b h"]
    """Input of the layer."""
    d: Float[Tensor, "b k"]
    """Gradient of each sample's loss with respect to the layer's output."""
    bias: bool
    """Whether the last k columns are the gradient of the bias."""

    @property
    def p(self) -> int:
        """Number of weights, and of biases where they are included."""
        return self.d.shape[1] * (self.a.shape[1] + self.bias)

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """|d|_1 (|a|_1 + 1) and |d|^2 (|a|^2 + 1), the 1 for the bias."""
        return {
            order: (summed(self.d, order) * (summed(self.a, order) + self.bias))[:, None] for order in orders
        }

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """One product an entry; computed as [f, b], so that the samples of a coordinate lie side by side."""
        h, k = self.a.shape[1], self.d.shape[1]
        row, column, biases = planned(coords, ("outer", h, k, self.bias), lambda: self._places(coords))
        found = columns(self.a, column)
        if len(biases):
            found.index_fill_(0, biases, 1.0)
        return found.mul_(columns(self.d, row)).t()

    def _places(
        self, coords: Int64[Tensor, " f"]
    ) -> tuple[Int64[Tensor, " f"], Int64[Tensor, " f"], Int64[Tensor, " e"]]:
        """Row and column of each coordinate, and which are biases: weights whose input is always 1."""
        h = self.a.shape[1]
        row, column = coords // h, coords % h
        if not self.bias:
            return row, column, coords.new_empty(0)  # a view would keep ``coords`` in memory
        weights = self.d.shape[1] * h
        inside = coords < weights
        row, column = torch.where(inside, row, coords - weights), torch.where(inside, column, 0)
        return row, column, (~inside).nonzero()[:, 0]

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """The gradients of some of the weight's rows."""
        assert not self.bias, "weight only"
        return torch.einsum("bk,bh->bkh", self.d[:, start:stop], self.a)

    def positions(self) -> "Positions":
        """The same factors with one position a sample."""
        assert not self.bias, "weight only"
        return Positions(self.a[:, None], self.d[:, None])

    def dense(self) -> Float[Tensor, "b p"]:
        """The outer products, flattened."""
        weight = torch.einsum("bk,bh->bkh", self.d, self.a).flatten(1)
        return torch.cat([weight, self.d], 1) if self.bias else weight


@dataclass(frozen=True, slots=True)
class Positions(Factors):
    """Factors of the gradients of a weight that is used at t positions of each sample: sum_t d_t a_t'."""

    a: Float[Tensor, "b t h"]
    """Input of the layer."""
    d: Float[Tensor, "b t k"]
    """Gradient of each sample's loss with respect to the layer's output."""

    @property
    def p(self) -> int:
        """Number of weights."""
        return self.d.shape[2] * self.a.shape[2]

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """By forming the gradients, or, of order 2 alone, by inner products of positions where cheaper."""
        (b, t, h), k, device = self.a.shape, self.d.shape[2], self.a.device
        extra = written(device)
        if tuple(orders) == (2,) and t * t * (h + k + extra) < h * k * (t + extra):
            return {2: self._inner_products()[:, None]}
        rows = min(k, at_a_time(h, device))
        samples = at_a_time(rows * h, device)
        return one_below_the_other(
            side_by_side(
                row_sums(self._formed(slice(first, first + samples), slice(start, start + rows)), orders)
                for start in range(0, k, rows)
            )
            for first in range(0, max(1, b), samples)
        )

    def _formed(self, samples: slice, rows: slice) -> Float[Tensor, "c r h"]:
        a, d = self.a[samples], self.d[samples, :, rows]
        block = borrowed("formed", (len(a), d.shape[2], a.shape[2]), a)
        return torch.bmm(d.transpose(1, 2), a, out=block)

    def _inner_products(self) -> Float[Tensor, " b"]:
        """|sum_t d_t a_t'|^2 = sum_st (d_s . d_t) (a_s . a_t)."""
        b, t = self.a.shape[:2]
        found = self.a.new_empty(b, dtype=torch.float64)
        samples = at_a_time(2 * t * t, self.a.device)
        for first in range(0, b, samples):
            a, d = self.a[first : first + samples], self.d[first : first + samples]
            one = torch.bmm(a, a.transpose(1, 2), out=borrowed("inner a", (len(a), t, t), a))
            other = torch.bmm(d, d.transpose(1, 2), out=borrowed("inner d", (len(a), t, t), a))
            found[first : first + samples] = one.mul_(other).sum(2).sum(1, dtype=torch.float64)
        return found.clamp_min_(0)

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """T products an entry."""
        b, t, h = self.a.shape
        row, column = planned(coords, ("positions", h), lambda: (coords // h, coords % h))
        found = self.a.new_empty(b, len(coords))
        step = at_a_time(2 * b * t, self.a.device)
        for first in range(0, len(coords), step):
            here = slice(first, first + step)
            product = picked(self.d, row[here], "picked d").mul_(picked(self.a, column[here], "picked a"))
            torch.sum(product, 1, out=found[:, here])
        return found

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """The gradients of some of the weight's rows."""
        return torch.bmm(self.d[:, :, start:stop].transpose(1, 2), self.a)

    def positions(self) -> "Positions":
        """Itself."""
        return self

    def dense(self) -> Float[Tensor, "b p"]:
        """All of them, flattened."""
        return self.rows(0, self.d.shape[2], self.a.shape[2]).flatten(1)


def factors(a: Float[Tensor, "b ... h"], d: Float[Tensor, "b ... k"]) -> Outer | Positions:
    """The part of a weight with input ``a`` and output gradient ``d``."""
    a, d = a.reshape(len(a), -1, a.shape[-1]), d.reshape(len(d), -1, d.shape[-1])
    return Outer(a[:, 0], d[:, 0], bias=False) if a.shape[1] == 1 else Positions(a, d)


def positions_summed(d: Float[Tensor, "b ... k"]) -> Plain:
    """The part of a bias: the output gradient summed over positions."""
    return Plain(d.reshape(len(d), -1, d.shape[-1]).sum(1))


@reads(torch.nn.functional.linear)
def linear(
    reading: Reading, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Iterator[tuple[Tensor, Part]]:
    """``y = input W' + bias`` with any number of leading positions."""
    _check_positions(reading, input)
    if reading.wants(weight):
        yield weight, factors(reading.first(input), reading.gradient)
    if reading.wants(bias):
        yield bias, positions_summed(reading.gradient)


@reads(torch.addmm, Tensor.addmm)
def addmm(
    reading: Reading, input: Tensor, mat1: Tensor, mat2: Tensor, **scales: float
) -> Iterator[tuple[Tensor, Part]]:
    """``y = mat1 W + bias``, as in the ``Conv1D`` of transformers, whose weight is the transposed one."""
    if any(scale != 1 for scale in scales.values()) or (reading.wants(input) and input.ndim != 1):
        raise NotCovered("addmm with a scale or a bias matrix")
    if reading.wants(input):
        yield input, positions_summed(reading.gradient)
    yield from matmul(reading, mat1, mat2)


@reads(torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)
def matmul(reading: Reading, input: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Part]]:
    """``y = input W``."""
    if reading.wants(input):
        raise NotCovered("a matrix product with the parameter on the left")
    if reading.wants(other):
        if other.ndim != 2:
            raise NotCovered("a matrix product with a parameter that is not a matrix")
        _check_positions(reading, input)
        yield other, factors(reading.gradient, reading.first(input))


def _check_positions(reading: Reading, input: Tensor) -> None:
    if input.ndim < 2 or reading.axis.dim >= input.ndim - 1:
        raise NotCovered("a linear layer whose features are the samples")
