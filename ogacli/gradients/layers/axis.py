"""Where the samples are in a tensor of a network's inside.

The batch is not always the first dimension: attention in torch keeps time first, windows of a Swin network
and the rows of a flattened matrix hold several positions a sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SampleAxis:
    """The dimension that runs over the samples, alone or together with positions of theirs."""

    dim: int
    minor: bool = False
    """True where the sample changes faster than the position: row r belongs to sample r modulo b."""

    def first(self, tensor: Shaped[Tensor, "..."], b: int) -> Shaped[Tensor, "b ..."]:
        """The tensor with the samples first; positions that shared their dimension stay behind at its place.

        A view wherever the strides allow.
        """
        positions = tensor.shape[self.dim] // b
        if positions == 1:
            return tensor.movedim(self.dim, 0)
        split: Tensor = tensor.unflatten(self.dim, (positions, b) if self.minor else (b, positions))
        return split.movedim(self.dim + self.minor, 0)

    def fits(self, shape: torch.Size, b: int) -> bool:
        """Whether a tensor of that shape can have its samples there."""
        return self.dim < len(shape) and shape[self.dim] > 0 and shape[self.dim] % b == 0

    def holds(self, gradient: Shaped[Tensor, "..."], b: int, sample: int) -> bool:
        """Whether a gradient that only one sample sent back is zero at all the others."""
        others = self.first(gradient, b)
        return not (others[:sample].any() or others[sample + 1 :].any())


FIRST = SampleAxis(0)


def candidates(shape: torch.Size, b: int) -> Iterator[SampleAxis]:
    """Every place where b samples may be in a tensor of that shape, the likeliest first."""
    for dim, length in enumerate(shape):
        if length and length % b == 0:
            yield SampleAxis(dim)
            if length > b > 1:
                yield SampleAxis(dim, minor=True)
