"""Gradients that are known outright, and the sums that every other part is reduced to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers.part import Sums


@dataclass(frozen=True, slots=True)
class Plain:
    """Gradients as a matrix, [b, p]: those of few parameters, or of the logits themselves."""

    values: Float[Tensor, "b p"]

    @property
    def p(self) -> int:
        """Columns."""
        return self.values.shape[1]

    @property
    def held(self) -> Iterable[Tensor]:
        """The values."""
        return (self.values,)

    def sums(self, orders: Sequence[int]) -> Sums:
        """Sums over the columns."""
        return {order: summed(self.values.abs() if order == 1 else self.values.square()) for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Columns."""
        return self.values.index_select(1, coords)

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Columns ``start * width`` to ``stop * width``, in rows of ``width``."""
        found: Tensor = self.values[:, start * width : stop * width].unflatten(1, (-1, width))
        return found

    def dense(self) -> Float[Tensor, "b p"]:
        """All columns."""
        return self.values

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Plain":
        """Some rows."""
        return Plain(self.values[index])


def summed(values: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """The sum of each sample's values, float64."""
    return values.flatten(1).sum(1, dtype=torch.float64)


def reduced(block: Float[Tensor, "c r w"], orders: Sequence[int]) -> Sums:
    """The sums of a block of gradients; **overwrites the block**.

    float32 within a row, float64 from there on: a row is short enough for its sum to be exact to 1e-6.
    """
    found: Sums = {}
    if 2 in orders:
        found[2] = torch.linalg.vector_norm(block, dim=-1).double().square().flatten(1).sum(1)
    if 1 in orders:
        found[1] = block.abs_().sum(-1).flatten(1).sum(1, dtype=torch.float64)
    return found
