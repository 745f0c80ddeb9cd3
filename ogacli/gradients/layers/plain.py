"""Gradients as a plain matrix, and the sums over gradients that all parts share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers.part import Factors, Part, PartialSums, Sums


@dataclass(frozen=True, slots=True)
class Plain(Factors):
    """Gradients as a matrix: those of parameters with few numbers, or with respect to the logits."""

    values: Float[Tensor, "b p"]

    @property
    def p(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """One of all columns."""
        return {order: summed(self.values, order)[:, None] for order in orders}

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Some columns; computed as [f, b], so that the samples of a coordinate lie side by side."""
        return columns(self.values, coords).t()

    def dense(self) -> Float[Tensor, "b p"]:
        """The matrix."""
        return self.values


def columns(values: Float[Tensor, "b w"], index: Int64[Tensor, " f"]) -> Float[Tensor, "f b"]:
    """Some columns as rows; of many columns the CPU transposes the whole matrix first, which is faster."""
    if values.device.type != "cpu":
        return values.t().index_select(0, index)
    if 4 * len(index) < values.shape[1]:
        return values.index_select(1, index).t().contiguous()
    return values.t().contiguous().index_select(0, index)


def summed(values: Float[Tensor, "b w"], order: int) -> Float[Tensor, " b"]:
    """The sum of each sample's absolute values or squares, float64."""
    if order == 1:
        return values.abs().sum(1, dtype=torch.float64)
    norm: Tensor = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64)
    return norm.square()


def sums(parts: Sequence[Part], orders: Sequence[int]) -> Sums:
    """For each sample the sum of absolute values (order 1) or squares (order 2) over all parts, float64."""
    plain = [part.values for part in parts if isinstance(part, Plain)]
    if len(plain) > 1 and plain[0].device.type != "cpu":  # a few operations in place of a few a layer
        others = [part for part in parts if not isinstance(part, Plain)]
        parts = [Plain(torch.cat(plain, 1)), *others]
    several = [part.partial_sums(orders) for part in parts]
    return {order: _total([found[order] for found in several]) for order in orders}


def _total(several: Sequence[Float[Tensor, "b m"]]) -> Float[Tensor, " b"]:
    if len(several) == 1 and several[0].shape[1] == 1:
        return several[0][:, 0].double()
    if several[0].device.type != "cpu":
        return torch.cat([one.double() for one in several], 1).sum(1)
    return torch.stack([one.sum(1, dtype=torch.float64) for one in several]).sum(0)


def row_sums(block: Float[Tensor, "c r w"], orders: Sequence[int]) -> PartialSums:
    """The sums over the rows of a block of gradients, [c, r]; **overwrites the block**.

    A row is so short that its float32 sum is exact to 1e-6.
    """
    found: PartialSums = {}
    if 2 in orders:
        found[2] = torch.linalg.vector_norm(block, dim=-1).double().square()
    if 1 in orders:
        found[1] = block.abs_().sum(-1)
    return found


def side_by_side(several: Iterable[PartialSums]) -> PartialSums:
    """The sums over several pieces of the gradients of the same samples."""
    return _joined(list(several), 1)


def one_below_the_other(several: Iterable[PartialSums]) -> PartialSums:
    """The sums over the same pieces for several groups of samples."""
    return _joined(list(several), 0)


def _joined(several: Sequence[PartialSums], dim: int) -> PartialSums:
    if len(several) == 1:
        return several[0]
    return {order: torch.cat([one[order] for one in several], dim) for order in several[0]}
