"""``Part``: the per-sample gradients of one parameter, as factors that are multiplied on demand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

from jaxtyping import Float, Int64
from torch import Tensor

Sums = dict[int, Tensor]
"""``{order: [b]}``, float64: for each sample the sum of |g| (order 1) or of g^2 (order 2)."""
PartialSums = dict[int, Tensor]
"""The same for m pieces of each sample's gradient, ``{order: [b, m]}``; float32 or float64."""


class Part(Protocol):
    """The per-sample gradients of one parameter for a batch of b samples: a [b, p] matrix.

    For the head, one part holds weight and bias.
    """

    @property
    def p(self) -> int:
        """Number of columns: the size of the parameter."""
        ...

    @property
    def held(self) -> Iterable[Tensor]:
        """The tensors that the part keeps in memory, other than parameters."""
        ...

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """The sums over some pieces of each sample's gradient, which together are all of it.

        Several orders are computed together.
        """
        ...

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The gradient at f of the part's coordinates, from 0 to p - 1."""
        ...

    def rows(self, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Coordinates ``start * width`` to ``stop * width``, as r rows.

        ``width`` is the size of a slice of the parameter's first dimension.
        """
        ...

    def dense(self) -> Float[Tensor, "b p"]:
        """The whole matrix."""
        ...

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Part":
        """The gradients of some of the samples."""
        ...


@dataclass(frozen=True, slots=True)
class Factors:
    """Base of parts. The defaults are for a part whose tensors all have one row a sample."""

    @property
    def held(self) -> Iterable[Tensor]:
        """All tensors among the fields."""
        return self._tensors().values()

    def rows(self: Part, start: int, stop: int, width: int) -> Float[Tensor, "b r w"]:
        """Some rows of the whole matrix."""
        found: Tensor = self.dense()[:, start * width : stop * width].unflatten(1, (-1, width))
        return found

    def select(self, index: Int64[Tensor, " c"] | slice) -> Self:
        """The factors of some of the samples."""
        return replace(self, **{name: tensor[index] for name, tensor in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}
