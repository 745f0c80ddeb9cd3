"""Parts made of other parts: for a parameter used in several calls, or through a view or a function."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from operator import add

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers.linear import Outer, Positions
from ogacli.gradients.layers.part import Factors, Part, PartialSums
from ogacli.gradients.layers.plain import one_below_the_other, row_sums, side_by_side
from ogacli.gradients.layers.workspace import at_a_time


@dataclass(frozen=True, slots=True)
class Summed(Factors):
    """The sum of several gradients of the same parameter. PartialSums have cross terms, so it is formed."""

    parts: Sequence[Part]
    width: int
    """Size of a slice of the parameter's first dimension."""

    @property
    def p(self) -> int:
        """Size of the parameter."""
        return self.parts[0].p

    @property
    def held(self) -> Iterable[Tensor]:
        """The tensors of all parts."""
        return [tensor for part in self.parts for tensor in part.held]

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """Computed for some rows of the parameter at a time."""
        whole, device = self.p // self.width, next(iter(self.held)).device
        step = at_a_time(self.width, device)
        return side_by_side(
            row_sums(self.rows(start, min(whole, start + step), self.width), orders)
            for start in range(0, whole, step)
        )

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The sum of the entries."""
        return reduce(add, (part.entries(coords) for part in self.parts))

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """The sum of the rows."""
        total = self.parts[0].rows(start, stop, width).clone()
        for part in self.parts[1:]:
            total += part.rows(start, stop, width)
        return total

    def dense(self) -> Float[Tensor, "b p"]:
        """The sum of the matrices."""
        return reduce(add, (part.dense() for part in self.parts))

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Summed":
        """The gradients of some of the samples."""
        return replace(self, parts=[part.select(index) for part in self.parts])


@dataclass(frozen=True, slots=True)
class Piece:
    """The gradient of a view of a block of the parameter, perhaps transposed, such as ``weight[:k].T``."""

    part: Part
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The first coordinate after the block."""
        return self.offset + self.part.p

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The gradient at coordinates of the parameter, all inside the block."""
        place = coords - self.offset
        index = torch.zeros_like(coords)
        for length, step in zip(self.size, self.stride, strict=True):
            index = index * length + place // step % length
        return self.part.entries(index)


@dataclass(frozen=True, slots=True)
class Pieces(Factors):
    """The gradient of a parameter of which disjoint blocks are used, each in a call of its own."""

    pieces: Sequence[Piece]
    p: int
    """Size of the parameter."""

    @property
    def held(self) -> Iterable[Tensor]:
        """The tensors of all blocks."""
        return [tensor for piece in self.pieces for tensor in piece.part.held]

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """Those of all blocks."""
        return side_by_side(piece.part.partial_sums(orders) for piece in self.pieces)

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Each entry from the block that it lies in; zero outside of all blocks."""
        inside = [((coords >= piece.offset) & (coords < piece.stop)).nonzero()[:, 0] for piece in self.pieces]
        values = [piece.entries(coords[here]) for piece, here in zip(self.pieces, inside, strict=True)]
        found = values[0].new_zeros(len(values[0]), len(coords))
        for here, value in zip(inside, values, strict=True):
            found[:, here] = value
        return found

    def dense(self) -> Float[Tensor, "b p"]:
        """The blocks in their places, zero elsewhere."""
        matrices = [piece.part.dense() for piece in self.pieces]
        found = matrices[0].new_zeros(len(matrices[0]), self.p)
        for piece, matrix in zip(self.pieces, matrices, strict=True):
            size, stride = (len(matrix), *piece.size), (self.p, *piece.stride)
            found.as_strided(size, stride, piece.offset).copy_(matrix.view(size))
        return found

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Pieces":
        """The gradients of some of the samples."""
        pieces = [replace(piece, part=piece.part.select(index)) for piece in self.pieces]
        return replace(self, pieces=pieces)


@dataclass(frozen=True, slots=True)
class Derived(Factors):
    """The gradient of a parameter used through a tensor computed from it, such as a normalised weight.

    For each sample, the gradient of the tensor is propagated back to the parameter.
    """

    part: Part
    tensor: Tensor
    """With its autograd graph."""
    parameter: Tensor

    @property
    def p(self) -> int:
        """Size of the parameter."""
        return self.parameter.numel()

    @property
    def held(self) -> Iterable[Tensor]:
        """The tensors of the part, and the derived tensor."""
        return (*self.part.held, self.tensor)

    def _each(self) -> Iterator[Float[Tensor, "1 p"]]:
        b = len(self.part.entries(torch.zeros(0, dtype=torch.int64, device=self.parameter.device)))
        for i in range(b):
            gradient = self.part.select(slice(i, i + 1)).dense().view(self.tensor.shape)
            (found,) = torch.autograd.grad(self.tensor, self.parameter, gradient, retain_graph=True)
            yield found.reshape(1, -1)

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """Computed sample by sample."""
        return one_below_the_other(row_sums(row[None], orders) for row in self._each())

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Computed sample by sample."""
        return torch.cat([row[:, coords] for row in self._each()])

    def dense(self) -> Float[Tensor, "b p"]:
        """Computed sample by sample."""
        return torch.cat(list(self._each()))

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Derived":
        """The gradients of some of the samples."""
        return replace(self, part=self.part.select(index))


@dataclass(frozen=True, slots=True)
class Zero(Factors):
    """The gradient of a parameter that no sample's loss depends on."""

    like: Float[Tensor, "b ..."]
    """Any tensor with a row a sample; gives device and dtype."""
    p: int
    """Size of the parameter."""

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """Zero."""
        return {order: self.like.new_zeros(len(self.like), 1) for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Zero."""
        return self.like.new_zeros(len(self.like), len(coords))

    def dense(self) -> Float[Tensor, "b p"]:
        """Zero."""
        return self.like.new_zeros(len(self.like), self.p)


def of_parameter(part: Part, tensor: Tensor, parameter: Tensor) -> Pieces | Derived:
    """The part of a parameter, given the part of a tensor derived from it."""
    size = tuple(tensor.shape)
    stride = tuple(1 if n == 1 else step for n, step in zip(size, tensor.stride(), strict=True))
    if tensor._base is parameter and parameter.is_contiguous() and tensor.numel():
        dense = 1  # the stride that the next larger dimension has where the view is a block without gaps
        for step, n in sorted((step, n) for n, step in zip(size, stride, strict=True) if n > 1):
            if step != dense:
                return Derived(part, tensor, parameter)
            dense *= n
        offset = int(tensor.storage_offset()) - int(parameter.storage_offset())
        return Pieces([Piece(part, offset, size, stride)], parameter.numel())
    return Derived(part, tensor, parameter)


def added_up(parts: Sequence[Part], width: int) -> Part:
    """The part of a parameter that is used in several calls.

    Outer products are joined as further positions, for which norms need no formed gradient.
    """
    if len(parts) == 1:
        return parts[0]
    outer = [part.positions() for part in parts if isinstance(part, Outer | Positions)]
    if len(outer) == len(parts):
        return Positions(torch.cat([part.a for part in outer], 1), torch.cat([part.d for part in outer], 1))
    split = [part for part in parts if isinstance(part, Pieces)]
    if len(split) == len(parts):
        pieces = sorted((piece for part in split for piece in part.pieces), key=lambda piece: piece.offset)
        if all(one.stop <= other.offset for one, other in pairwise(pieces)):
            return Pieces(pieces, parts[0].p)
    return Summed(parts, width)
