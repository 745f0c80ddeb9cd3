"""The dimension of the samples in an activation of a network.

The batch is not always the first dimension: attention in torch has time first; the windows of a Swin network
and the rows of a flattened matrix are several positions a sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SampleAxis:
    """The dimension that runs over the samples, or over samples and positions together."""

    dim: int
    minor: bool = False
    """Whether the sample changes faster than the position: index r then belongs to sample r modulo b."""

    def first(self, tensor: Shaped[Tensor, "..."], b: int) -> Shaped[Tensor, "b ..."]:
        """The tensor with the samples first; positions that share their dimension keep its place.

        A view where the strides allow it.
        """
        positions = tensor.shape[self.dim] // b
        if positions == 1:
            return tensor.movedim(self.dim, 0)
        split: Tensor = tensor.unflatten(self.dim, (positions, b) if self.minor else (b, positions))
        return split.movedim(self.dim + self.minor, 0)

    def fits(self, shape: torch.Size, b: int) -> bool:
        """Whether a tensor of that shape can have b samples along this dimension."""
        return self.dim < len(shape) and shape[self.dim] > 0 and shape[self.dim] % b == 0

    def holds(self, gradient: Shaped[Tensor, "..."], b: int, sample: int) -> bool:
        """Whether a gradient from the loss of one sample alone is zero at all other samples."""
        others = self.first(gradient, b)
        return not (others[:sample].any() or others[sample + 1 :].any())


FIRST = SampleAxis(0)


def candidates(shape: torch.Size, b: int) -> Iterator[SampleAxis]:
    """Every dimension that may run over b samples in a tensor of that shape, the likeliest first."""
    for dim, length in enumerate(shape):
        if length and length % b == 0:
            yield SampleAxis(dim)
            if length > b > 1:
                yield SampleAxis(dim, minor=True)
