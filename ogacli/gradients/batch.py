"""``GradientBatch``: the per-sample gradients of a batch, as factors that are multiplied only on demand.

The gradient of a batch is a [b, p] matrix that is never formed. It is held as parts, one a layer, side by
side in the order of the layers; each part knows how to answer for its own columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor


class Part(Protocol):
    """The gradients of one layer's parameters for the b samples of a batch: [b, p] of one layer."""

    @property
    def p(self) -> int:
        """How many parameters."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the part keeps alive."""
        ...

    def squared_norm(self) -> Float[Tensor, " b"]:
        """Sum of squares of each sample's gradient, float64."""
        ...

    def absolute_sum(self) -> Float[Tensor, " b"]:
        """Sum of absolute values of each sample's gradient, float64."""
        ...

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The gradient at these of the layer's coordinates (0 to p - 1)."""
        ...

    def dense(self) -> Float[Tensor, "b p"]:
        """All of it."""
        ...

    def select(self, index: Int64[Tensor, " c"] | slice) -> "Part":
        """The same for some of the samples."""
        ...


@dataclass(frozen=True, slots=True)
class GradientBatch:
    """Per-sample gradients of b samples with respect to p parameters, not computed yet."""

    rows: Int64[Tensor, " b"]
    """Which rows of the ``Samples``; on the CPU."""
    labels: Shaped[Tensor, "b ..."]
    logits: Float[Tensor, "b k"]
    residual: Float[Tensor, "b k"]
    """Gradient of each sample's loss with respect to its logits."""
    features: Float[Tensor, "b h"] | None
    """What the head read; None where that is not known."""
    parts: Sequence[Part]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def p(self) -> int:
        """How many parameters the gradients are taken with respect to."""
        return sum(part.p for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes that the batch keeps alive."""
        own = (self.labels, self.logits, self.residual)
        return sum(tensor.nbytes for tensor in own) + sum(part.nbytes for part in self.parts)

    def norm(self, order: int) -> Float[Tensor, " b"]:
        """The exact L1 (``order=1``) or L2 (``order=2``) norm of each sample's gradient, float64."""
        if order == 1:
            return torch.stack([part.absolute_sum() for part in self.parts]).sum(0)
        if order == 2:
            return torch.stack([part.squared_norm() for part in self.parts]).sum(0).sqrt()
        raise ValueError(f"order {order}: 1 or 2")

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """The exact gradient at f of the p coordinates; O(b f), whatever p is."""
        if len(self.parts) == 1:
            return self.parts[0].entries(coords)
        found = self.residual.new_empty(len(self), len(coords))
        start = 0
        for part in self.parts:
            here = ((coords >= start) & (coords < start + part.p)).nonzero()[:, 0]
            if len(here):
                found[:, here] = part.entries(coords[here] - start)
            start += part.p
        return found

    def dense(self) -> Float[Tensor, "b p"]:
        """The whole matrix: b * p numbers, for small p."""
        return torch.cat([part.dense() for part in self.parts], 1)

    def project(self, dim: int, seed: int) -> Float[Tensor, "b dim"]:
        """A seeded random projection that keeps inner products in expectation.

        The p coordinates are multiplied by a p x dim matrix of +-1/sqrt(dim), made a block of
        coordinates at a time and never held whole.
        """
        generator = torch.Generator().manual_seed(seed)
        total = self.residual.new_zeros(len(self), dim)
        block = max(1, (1 << 20) // dim)
        for start in range(0, self.p, block):
            size = min(block, self.p - start)
            signs = torch.randint(0, 2, (size, dim), generator=generator, dtype=torch.int8)
            matrix = signs.to(total.device, total.dtype) * 2 - 1
            coords = torch.arange(start, start + size, device=total.device)
            total += self.entries(coords) @ matrix
        return total / math.sqrt(dim)

    def select(self, index: Int64[Tensor, " c"] | slice) -> "GradientBatch":
        """The gradients of some of the samples; a slice copies nothing."""
        host = index if isinstance(index, slice) else index.cpu()
        return replace(
            self,
            rows=self.rows[host],
            labels=self.labels[index],
            logits=self.logits[index],
            residual=self.residual[index],
            features=None if self.features is None else self.features[index],
            parts=[part.select(index) for part in self.parts],
        )
