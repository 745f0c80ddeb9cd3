"""Gradients as a plain matrix, and the sums over the gradients of a block that all parts share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers.part import Factors, Sums


@dataclass(frozen=True, slots=True)
class Plain(Factors):
    """Gradients as a matrix: those of parameters with few numbers, or with respect to the logits."""

    values: Float[Tensor, "b p"]

    @property
    def p(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    def sums(self, orders: Sequence[int]) -> Sums:
        """Sums over the columns."""
        return {order: summed(self.values.abs() if order == 1 else self.values.square()) for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Some columns; computed as [f, b], so that the samples of a coordinate lie side by side."""
        return columns(self.values, coords).t()

    def dense(self) -> Float[Tensor, "b p"]:
        """The matrix."""
        return self.values


def columns(values: Float[Tensor, "b w"], index: Int64[Tensor, " f"]) -> Float[Tensor, "f b"]:
    """Some columns as rows; of many columns the whole matrix is transposed first, which is faster."""
    if 4 * len(index) < values.shape[1]:
        return values.index_select(1, index).t().contiguous()
    return values.t().contiguous().index_select(0, index)


def summed(values: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """The sum of each sample's values, float64."""
    return values.flatten(1).sum(1, dtype=torch.float64)


def reduced(block: Float[Tensor, "c r w"], orders: Sequence[int]) -> Sums:
    """The sums of absolute values and squares of a block of gradients; **overwrites the block**.

    Sums are float32 within a row and float64 over rows. A row is so short that its sum is exact to 1e-6.
    """
    found: Sums = {}
    if 2 in orders:
        found[2] = torch.linalg.vector_norm(block, dim=-1).double().square().flatten(1).sum(1)
    if 1 in orders:
        found[1] = block.abs_().sum(-1).flatten(1).sum(1, dtype=torch.float64)
    return found
