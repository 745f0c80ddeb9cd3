"""Parts made of other parts: a parameter that several calls read, or of which a call read a view."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.batch import Part, Sums
from ogacli.gradients.layers.linear import Outer, Positions
from ogacli.gradients.layers.plain import reduced
from ogacli.gradients.workspace import at_a_time


class Rows(Part, Protocol):
    """A part that can be formed a few rows at a time; a row is a slice of the parameter's first dimension."""

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Rows ``start`` to ``stop``, each ``width`` numbers long."""
        ...


@dataclass(frozen=True, slots=True)
class Summed:
    """The sum of several gradients of the same parameter; norms need it formed, for the cross terms."""

    parts: Sequence[Rows]
    width: int
    """Numbers in a row of the parameter."""

    @property
    def p(self) -> int:
        """Columns."""
        return self.parts[0].p

    @property
    def nbytes(self) -> int:
        """Of all the parts."""
        return sum(part.nbytes for part in self.parts)

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


def together(parts: Sequence[Rows], width: int) -> Rows:
    """The part of a parameter that was read in several ways.

    Outer products of the same kind only gain positions, so that their norms stay as cheap as they were.
    """
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, Outer | Positions) for part in parts):
        a = [part.a if isinstance(part, Positions) else part.a[:, None] for part in parts]
        d = [part.d if isinstance(part, Positions) else part.d[:, None] for part in parts]
        return Positions(torch.cat(a, 1), torch.cat(d, 1))
    return Summed(parts, width)
