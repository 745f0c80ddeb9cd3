"""The empirical Fisher matrix of the fitted samples, and the interface of its approximate inverses.

The curvature is block-diagonal, one block a parameter: G = 1/m sum_i g_i g_i', with the damping of Kwon et
al. (ICLR 2024, arXiv 2310.00902): lambda = damping * mean_i |g_i|^2 / p of the block.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.detectors.influence.quadratic_form import Held, QuadraticForm
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.gradients.products import blocks, squares


class InverseCurvature(ABC):
    """A = an approximation of (G + lambda)^-1, block by block."""

    fitted: ClassVar[bool] = True
    """Whether samples must be seen; False for the identity."""

    @abstractmethod
    def direction(self, batches: Iterable[GradientBatch], vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """A v, with G that of the batches; may iterate over them several times."""

    @abstractmethod
    def form(self, held: Held) -> QuadraticForm:
        """``g' A g`` of one block, with G that of the given gradients."""


@dataclass(frozen=True, slots=True)
class Curvature:
    """Size and damping of each of the l blocks."""

    steepness: Float[Tensor, " l"]
    """Mean squared norm of the gradients: the trace of G."""
    damping: Float[Tensor, " l"]
    """lambda."""
    sizes: tuple[int, ...]
    """Number of parameters of each block."""
    count: int
    """Number of samples."""

    @classmethod
    def measured(cls, batches: Iterable[GradientBatch], damping: float) -> "Curvature":
        """Measure in one pass over the batches.

        Args:
            batches: The samples that are fitted.
            damping: lambda as a multiple of the mean squared gradient entry of a block.

        Raises:
            DataError: There is no sample.
        """
        total, count = torch.zeros(1), 0
        sizes: tuple[int, ...] = ()
        for batch in batches:
            found = squares(batch).sum(0)
            total, count = found + (total if count else 0), count + len(batch)
            sizes = tuple(part.p for part in blocks(batch))
        if not count:
            raise no_sample()
        steepness = total / count
        return cls(steepness, damping * steepness / torch.tensor(sizes).to(steepness), sizes, count)

    def only_steep(self, values: Float[Tensor, "... l"]) -> Float[Tensor, "... l"]:
        """The values, with 0 for blocks whose gradients are all 0, as their G + lambda has no inverse."""
        return torch.where(self.steepness > 0, values, 0.0)


def no_sample() -> DataError:
    """The error where there is nothing to fit to."""
    return DataError("no sample to fit to", expected="at least one that can be read")
