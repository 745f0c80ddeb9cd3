"""How unlikely a gradient is under a Gaussian that was fitted to the others, in a seeded random projection.

The covariance is shrunk towards equal variances by the amount of Ledoit and Wolf (J. Multivariate Analysis
88, 2004), so that fewer samples than dimensions do. The determinant is a part of the score: what is unlikely
under one fit can be held against another, as `oga attribute` does with groups.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import LayeredOptions, detectors
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch

_LEAST = 1e-200
"""Variance that is given to gradients which are all alike."""


@detectors.register
class GaussianOptions(LayeredOptions):
    """Score = (g - m)' C^-1 (g - m) + log det C: minus twice the log-likelihood, but for a constant."""

    projection: Annotated[int, Field(ge=1)] = 256
    """Dimensions that the gradients are projected to; gradients with no more coordinates are taken whole."""
    fit_samples: Annotated[int, Field(ge=2)] = 10_000
    """How many samples it is fitted to, at most."""
    seed: int = 0
    """Of the projection and the choice of samples."""

    def detector(self) -> "Gaussian":
        """A Gaussian that is not fitted yet."""
        return Gaussian(self)


class Gaussian:
    """Mean and covariance of projected gradients."""

    def __init__(self, options: GaussianOptions) -> None:
        self.options = options
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.whitening = torch.zeros(0, 0, dtype=torch.float64)
        """W with W'W = C^-1."""
        self.log_determinant = torch.zeros((), dtype=torch.float64)
        """Of C."""

    def fit_size(self, n: int) -> int:
        """All, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit to all samples at once.

        Raises:
            DataError: There are too few.
        """
        from sklearn.covariance import ledoit_wolf

        found = [self._projected(batch) for batch in batches]
        if sum(map(len, found)) < 2:
            raise DataError("too few samples to fit to", expected="at least two that can be read")
        values = torch.cat(found)
        self.mean = values.mean(0)
        rest = values - self.mean
        # Gradients may be tiny, and library code takes what is absolutely small for nothing.
        scale = rest.square().mean().clamp_min(_LEAST).sqrt()
        covariance, _ = ledoit_wolf((rest / scale).cpu().numpy(), assume_centered=True)
        shrunk = torch.from_numpy(covariance).to(values.device)
        shrunk.diagonal().add_(1e-9)  # where all are alike, nothing is left to shrink to
        lower = torch.linalg.cholesky(shrunk)
        identity = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        self.whitening = torch.linalg.solve_triangular(lower, identity, upper=False) / scale
        self.log_determinant = 2 * (lower.diagonal().log().sum() + len(lower) * scale.log())

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """Minus twice the log-likelihood, float64."""
        values = self._projected(batch)
        if self.mean.device != values.device:
            self.restore({name: tensor.to(values.device) for name, tensor in self.state().items()})
        distance = ((values - self.mean) @ self.whitening.T).square().sum(1)
        return distance + self.log_determinant

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """Mean, whitening matrix and log-determinant."""
        return {
            "mean": self.mean.cpu(),
            "whitening": self.whitening.cpu(),
            "log_determinant": self.log_determinant.cpu(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave."""
        self.mean, self.whitening = state["mean"], state["whitening"]
        self.log_determinant = state["log_determinant"]

    def _projected(self, batch: GradientBatch) -> Float[Tensor, "b dim"]:
        return batch.reduced(self.options.projection, self.options.seed).double()
