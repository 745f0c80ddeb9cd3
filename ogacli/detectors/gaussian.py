"""Negative log-likelihood of a gradient under a Gaussian fitted to the others, in a seeded random projection.

The covariance is shrunk towards a multiple of the identity by the amount of Ledoit and Wolf (J. Multivariate
Analysis 88, 2004), so that it is invertible for fewer samples than dimensions. The score includes the
log-determinant, so that the scores of two fits can be compared, as `oga attribute` does with groups.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.detectors import Detector, LayeredOptions, detectors
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch

_LEAST = 1e-200
"""Lower bound of the variance, for gradients that are all equal."""


@detectors.register
class GaussianOptions(LayeredOptions):
    """Score = (g - m)' C^-1 (g - m) + log det C: minus twice the log-likelihood, up to a constant."""

    projection: Annotated[int, Field(ge=1)] = 256
    """Dimensions that the gradients are projected to; gradients with no more coordinates are taken whole."""
    fit_samples: Annotated[int, Field(ge=2)] = 10_000
    """How many samples it is fitted to, at most."""
    seed: int = 0
    """Seed of the projection and of the choice of samples."""

    def detector(self) -> "Gaussian":
        """A Gaussian that is not fitted yet."""
        return Gaussian(self)


class Gaussian(Detector):
    """Mean and covariance of projected gradients."""

    def __init__(self, options: GaussianOptions) -> None:
        self.options = options
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.whitening = torch.zeros(0, 0, dtype=torch.float64)
        """W with W'W = C^-1."""
        self.log_determinant = torch.zeros((), dtype=torch.float64)
        """log det C."""

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit mean and shrunk covariance in one pass; O(n dim) memory.

        Raises:
            DataError: There are fewer than two samples.
        """
        from sklearn.covariance import ledoit_wolf

        found = [self._projected(batch) for batch in batches]
        if sum(map(len, found)) < 2:
            raise DataError("too few samples to fit to", expected="at least two that can be read")
        values = torch.cat(found)
        self.mean = values.mean(0)
        rest = values - self.mean
        # Gradients may be tiny, and scikit-learn takes what is below an absolute bound for zero.
        scale = rest.square().mean().clamp_min(_LEAST).sqrt()
        covariance, _ = ledoit_wolf((rest / scale).cpu().numpy(), assume_centered=True)
        shrunk = torch.from_numpy(covariance).to(values.device)
        shrunk.diagonal().add_(1e-9)  # where all gradients are equal, the covariance is 0 even when shrunk
        lower = torch.linalg.cholesky(shrunk)
        identity = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
        # In the memory layout that a restored one has: products of another one differ in the last digit.
        self.whitening = (inverse / scale).contiguous()
        self.log_determinant = 2 * (lower.diagonal().log().sum() + len(lower) * scale.log())

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """Minus twice the log-likelihood up to a constant, float64."""
        values = self._projected(batch)
        if self.mean.device != values.device:
            self.restore({name: tensor.to(values.device) for name, tensor in self.state().items()})
        distance = ((values - self.mean) @ self.whitening.T).square().sum(1)
        return distance + self.log_determinant

    def state(self) -> dict[str, Tensor]:
        """Mean, whitening matrix and log-determinant."""
        return {
            "mean": self.mean.cpu(),
            "whitening": self.whitening.cpu(),
            "log_determinant": self.log_determinant.cpu(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self.mean, self.whitening = state["mean"], state["whitening"]
        self.log_determinant = state["log_determinant"]

    def _projected(self, batch: GradientBatch) -> Float[Tensor, "b dim"]:
        return batch.reduced(self.options.projection, self.options.seed).double()
