"""Parts made of other parts: a parameter that several calls read, or of which a call read a view."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from operator import add

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers.linear import Outer, Positions
from ogacli.gradients.layers.part import Part, Sums
from ogacli.gradients.layers.plain import reduced
from ogacli.gradients.layers.workspace import at_a_time


@dataclass(frozen=True, slots=True)
class Summed:
    """The sum of several gradients of the same parameter; norms need it formed, for the cross terms."""

    parts: Sequence[Part]
    width: int
    """Numbers in a row of the parameter."""

    @property
    def p(self) -> int:
        """Columns."""
        return self.parts[0].p

    @property
    def held(self) -> Iterable[Tensor]:
        """Those of all the parts."""
        return [tensor for part in self.parts for tensor in part.held]

    def sums(self, orders: Sequence[int]) -> Sums:
        """Row block by row block."""
        found: Sums = {}
        whole = self.p // self.width
        for start in range(0, whole, step := at_a_time(self.width)):
            block = self.rows(start, min(whole, start + step), self.width)
            for order, values in reduced(block, orders).items():
                found[order] = found[order] + values if order in found else values
        return found

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
        """Some samples."""
        return replace(self, parts=[part.select(index) for part in self.parts])


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor that is a part of the parameter's memory, transposed perhaps, such as ``weight[:k].T``."""

    part: Part
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The first coordinate after the piece."""
        return self.offset + self.part.p

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """At coordinates of the parameter, all inside."""
        place = coords - self.offset
        index = torch.zeros_like(coords)
        for length, step in zip(self.size, self.stride, strict=True):
            index = index * length + place // step % length
        return self.part.entries(index)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The gradient of a parameter of which disjoint pieces were read, each for itself."""

    pieces: Sequence[Piece]
    p: int
    """Columns: the whole parameter."""

    @property
    def held(self) -> Iterable[Tensor]:
        """Those of all the pieces."""
        return [tensor for piece in self.pieces for tensor in piece.part.held]

    def sums(self, orders: Sequence[int]) -> Sums:
        """The sums of the pieces, added up."""
        found = [piece.part.sums(orders) for piece in self.pieces]
        return {order: reduce(add, (sums[order] for sums in found)) for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Each from the piece that it lies in; zero where there is none."""
        asked = [((coords >= piece.offset) & (coords < piece.stop)).nonzero()[:, 0] for piece in self.pieces]
        values = [piece.entries(coords[here]) for piece, here in zip(self.pieces, asked, strict=True)]
        found = values[0].new_zeros(len(values[0]), len(coords))
        for here, value in zip(asked, values, strict=True):
            found[:, here] = value
        return found

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Some rows of the parameter."""
        found: Tensor = self.dense()[:, start * width : stop * width].unflatten(1, (-1, width))
        return found

    def dense(self) -> Float[Tensor, "b p"]:
        """The pieces in their places."""
        matrices = [piece.part.dense() for piece in self.pieces]
        found = matrices[0].new_zeros(len(matrices[0]), self.p)
        for piece, matrix in zip(self.pieces, matrices, strict=True):
            size, stride = (len(matrix), *piece.size), (self.p, *piece.stride)
            found.as_strided(size, stride, piece.offset).copy_(matrix.view(size))
        return found

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Pieces":
        """Some samples."""
        pieces = [replace(piece, part=piece.part.select(index)) for piece in self.pieces]
        return replace(self, pieces=pieces)


@dataclass(frozen=True, slots=True)
class Made:
    """The gradient of a parameter that was read through a tensor made of it: a normalised weight, say.

    For each sample the gradient of the tensor is sent back to the parameter.
    """

    part: Part
    tensor: Tensor
    """With its graph."""
    parameter: Tensor

    @property
    def p(self) -> int:
        """Columns."""
        return self.parameter.numel()

    @property
    def held(self) -> Iterable[Tensor]:
        """Those of the part, and what the parameter was made into."""
        return (*self.part.held, self.tensor)

    def _each(self) -> Iterator[Float[Tensor, "1 p"]]:
        b = len(self.part.entries(torch.zeros(0, dtype=torch.int64, device=self.parameter.device)))
        for i in range(b):
            gradient = self.part.select(slice(i, i + 1)).dense().view(self.tensor.shape)
            (found,) = torch.autograd.grad(self.tensor, self.parameter, gradient, retain_graph=True)
            yield found.reshape(1, -1)

    def sums(self, orders: Sequence[int]) -> Sums:
        """Sample by sample."""
        found = [reduced(row[None], orders) for row in self._each()]
        return {order: torch.cat([sums[order] for sums in found]) for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Sample by sample."""
        return torch.cat([row[:, coords] for row in self._each()])

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Some rows of the parameter."""
        rows = [row[:, start * width : stop * width] for row in self._each()]
        found: Tensor = torch.cat(rows).unflatten(1, (-1, width))
        return found

    def dense(self) -> Float[Tensor, "b p"]:
        """All of it."""
        return torch.cat(list(self._each()))

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Made":
        """Some samples."""
        return replace(self, part=self.part.select(index))


@dataclass(frozen=True, slots=True)
class Zero:
    """The gradient of a parameter that no sample's loss depends on."""

    like: Float[Tensor, "b ..."]
    """Any tensor with a row a sample."""
    p: int
    """Columns."""

    @property
    def held(self) -> Iterable[Tensor]:
        """Whatever it was made like."""
        return (self.like,)

    def sums(self, orders: Sequence[int]) -> Sums:
        """Zero."""
        return {order: self.like.new_zeros(len(self.like), dtype=torch.float64) for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Zero."""
        return self.like.new_zeros(len(self.like), len(coords))

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Zero."""
        return self.like.new_zeros(len(self.like), stop - start, width)

    def dense(self) -> Float[Tensor, "b p"]:
        """Zero."""
        return self.like.new_zeros(len(self.like), self.p)

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Zero":
        """Some samples."""
        return Zero(self.like[index], self.p)


def through(part: Part, tensor: Tensor, parameter: Tensor) -> Pieces | Made:
    """The part of a parameter, given that of a tensor made of it."""
    if tensor._base is parameter and parameter.is_contiguous() and tensor.numel():
        order = sorted(
            (step, length) for length, step in zip(tensor.shape, tensor.stride(), strict=True) if length > 1
        )
        ahead = 1
        for step, length in order:
            if step != ahead:
                break
            ahead *= length
        else:
            offset = int(tensor.storage_offset()) - int(parameter.storage_offset())
            size = tuple(tensor.shape)
            stride = tuple(
                1 if length == 1 else step for length, step in zip(size, tensor.stride(), strict=True)
            )
            return Pieces([Piece(part, offset, size, stride)], parameter.numel())
    return Made(part, tensor, parameter)


def together(parts: Sequence[Part], width: int) -> Part:
    """The part of a parameter that was read in several ways.

    Outer products of the same kind only gain positions, so that their norms stay as cheap as they were.
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
