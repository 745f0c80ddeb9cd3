"""The processes that share the work of one command, called ranks as in torch; by default there is one.

In: named tensors of each rank. Out: those of all ranks, in each of them. With one rank nothing is sent, so
that no other code asks how many there are; ``base.distributed`` has the form for several.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

T = TypeVar("T")
Tensors = Mapping[str, Tensor]


class Ranks:
    """All ranks, as one of them sees them; this one is alone."""

    rank = 0
    """The number of this one."""
    count = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and prints."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other ranks."""
        return self.count > 1

    def share(self, rows: Int64[Tensor, " m"], size: int) -> Int64[Tensor, " s"]:
        """The rows of this rank: those of every ``count``-th read.

        Args:
            rows: All, in order.
            size: The samples that are read together. They stay together, as batches that are put together
                otherwise give scores that differ in the last digit.
        """
        return torch.cat([rows[:0], *self.dealt(rows.split(size))]) if self.several else rows

    def dealt(self, jobs: Sequence[T]) -> Sequence[T]:
        """The jobs of this rank, in turn."""
        return jobs[self.rank :: self.count]

    def gathered(self, own: Tensors) -> Sequence[Tensors]:
        """The tensors of all ranks, in their order; every rank calls this. The others' are on the CPU."""
        return [own]

    def collected(self, own: Tensors) -> Sequence[Tensors]:
        """The tensors of all ranks on the first one, elsewhere none; every rank calls this."""
        return [own]

    def of_first(self, make: Callable[[], Tensors]) -> Tensors:
        """What the first rank makes; every rank calls this, and the others wait."""
        return make()

    def added(self, own: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """The sum of a tensor over all ranks; every rank calls this, with one of the same size on the CPU."""
        return own

    def ending(self) -> None:
        """This process ends, and saves what it has."""


ALONE = Ranks()
"""A single process."""
