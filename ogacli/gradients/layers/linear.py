"""A linear layer read once per sample: the gradient is the outer product of two vectors.

For ``y = W a + b`` and output gradient d, the gradient of W is d a', that of b is d. Coordinates run over
W row by row, then over b, as ``torch.nn.utils.parameters_to_vector`` has them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Outer:
    """Factors of the gradients of one linear layer's weight and bias."""

    a: Float[Tensor, "b h"]
    """What the layer read."""
    d: Float[Tensor, "b k"]
    """Gradient of each sample's loss with respect to what the layer returned."""
    bias: bool
    """True where the layer has a bias."""

    @property
    def p(self) -> int:
        """Weights and biases."""
        return self.d.shape[1] * (self.a.shape[1] + self.bias)

    @property
    def nbytes(self) -> int:
        """Of both factors."""
        return self.a.nbytes + self.d.nbytes

    def squared_norm(self) -> Float[Tensor, " b"]:
        """|d|^2 (|a|^2 + 1), the 1 for the bias."""
        return _sums(self.d.square()) * (_sums(self.a.square()) + self.bias)

    def absolute_sum(self) -> Float[Tensor, " b"]:
        """|d|_1 (|a|_1 + 1), the 1 for the bias."""
        return _sums(self.d.abs()) * (_sums(self.a.abs()) + self.bias)

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """One product an entry, made column by column: the samples of one coordinate are neighbours."""
        h = self.a.shape[1]
        weights = self.d.shape[1] * h
        row, column = coords // h, coords % h
        a = self.a.t().contiguous()
        if self.bias:
            # A bias is a weight whose input is always 1.
            a = torch.cat([a, a.new_ones(1, a.shape[1])])
            inside = coords < weights
            row, column = torch.where(inside, row, coords - weights), torch.where(inside, column, h)
        return self.d.t().contiguous().index_select(0, row).mul_(a.index_select(0, column)).t()

    def dense(self) -> Float[Tensor, "b p"]:
        """The outer products, flattened."""
        weight = torch.einsum("bk,bh->bkh", self.d, self.a).flatten(1)
        return torch.cat([weight, self.d], 1) if self.bias else weight

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Outer":
        """The factors of some samples."""
        return Outer(self.a[index], self.d[index], self.bias)


@dataclass(frozen=True, slots=True)
class Plain:
    """Gradients that are known outright, [b, p]: the logits themselves taken as the parameters."""

    values: Float[Tensor, "b p"]

    @property
    def p(self) -> int:
        """Columns."""
        return self.values.shape[1]

    @property
    def nbytes(self) -> int:
        """Of the values."""
        return self.values.nbytes

    def squared_norm(self) -> Float[Tensor, " b"]:
        """Sum of squares."""
        return _sums(self.values.square())

    def absolute_sum(self) -> Float[Tensor, " b"]:
        """Sum of absolute values."""
        return _sums(self.values.abs())

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """Columns."""
        return self.values.index_select(1, coords)

    def dense(self) -> Float[Tensor, "b p"]:
        """All columns."""
        return self.values

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Plain":
        """Some rows."""
        return Plain(self.values[index])


def _sums(values: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    return values.sum(1, dtype=torch.float64)
