"""``Part``: the per-sample gradients of one layer's parameters, held as factors and multiplied on demand."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from jaxtyping import Float, Int64
from torch import Tensor

Sums = dict[int, Tensor]
"""``{order: [b]}``, float64: for each sample the sum of |g| (order 1) or of g^2 (order 2)."""


class Part(Protocol):
    """The gradients of one layer's parameters for the b samples of a batch: [b, p] of one layer."""

    @property
    def p(self) -> int:
        """How many parameters."""
        ...

    @property
    def held(self) -> Iterable[Tensor]:
        """The tensors that the part keeps alive, beside the parameters themselves."""
        ...

    def sums(self, orders: Sequence[int]) -> Sums:
        """Sum of absolute values (order 1) and of squares (order 2) of each sample's gradient.

        What is asked for together is computed together.
        """
        ...

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The gradient at these of the layer's coordinates (0 to p - 1)."""
        ...

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Coordinates ``start * width`` to ``stop * width``, in rows.

        ``width`` is the parameter's own: a row is a slice of its first dimension.
        """
        ...

    def dense(self) -> Float[Tensor, "b p"]:
        """All of it."""
        ...

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Part":
        """The same for some of the samples."""
        ...
