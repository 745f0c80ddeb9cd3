"""LiSSA: influence with an inverse curvature summed up as a truncated Neumann series.

Agarwal et al., JMLR 2017, arXiv 1602.03943. G and lambda are those of ``influence/curvature.py``, with all
fitted samples in every step, as in Kwon et al. (arXiv 2310.00902): r <- v + (I - scale (G + lambda)) r, from
r = v, and then A v = scale * r.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._influence import InfluenceOptions
from ogacli.detectors.influence.curvature import Curvature, InverseCurvature
from ogacli.detectors.influence.quadratic_form import Held, QuadraticForm, count
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch
from ogacli.gradients.products import combined, dots, inner, spread


@detectors.register
class LiSSA(InfluenceOptions):
    """Score = -g'Av with A from an iteration; against itself g'Ag."""

    fit_samples: Annotated[int, Field(ge=1)] = 1_000
    """How many training samples the curvature is computed from; each step reads all of them."""
    damping: Annotated[float, Field(gt=0)] = 0.1
    """lambda of a block, as a multiple of the mean squared gradient entry in it."""
    iterations: Annotated[int, Field(ge=0)] = 10
    """Number of steps."""
    scale: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Step length; ``auto``: 1 / (lambda + mean squared norm) of each block, for which it converges."""

    def inverse(self) -> "Neumann":
        """The truncated series."""
        return Neumann(self)


class Neumann(InverseCurvature):
    """The first terms of ``scale * sum_j (I - scale (G + lambda))^j``."""

    def __init__(self, options: LiSSA) -> None:
        self.options = options

    def direction(self, batches: Iterable[GradientBatch], vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """A v; one pass over the batches for lambda, and one for each step.

        Raises:
            GradientError: The iteration diverges, as the steps are too long.
        """
        curvature = Curvature.measured(batches, self.options.damping)
        scale = curvature.only_steep(self._scale(curvature.damping, curvature.steepness))
        damping, scales = (spread(values, curvature.sizes) for values in (curvature.damping, scale))
        found = vector.clone()
        for _ in range(self.options.iterations):
            bent = torch.zeros_like(vector)
            for batch in batches:
                bent += combined(batch, dots(batch, found))
            found = vector + found - scales * (bent / curvature.count + damping * found)
        if not found.isfinite().all():
            raise GradientError(
                "the iteration diverges",
                place="detector.scale",
                found=self.options.scale,
                hint="say `scale: auto`, or a smaller number",
            )
        return scales * found

    def form(self, held: Held) -> QuadraticForm:
        """The same series in closed form, by the eigenvectors of the Gram matrix of the fitted samples."""
        m = count(held)
        gram = inner(held, held, m)
        steepness = gram.trace() / m
        damping = self.options.damping * steepness / held.p
        if not float(steepness):
            return QuadraticForm(held, 0.0, torch.zeros_like(gram[0]))
        scale = self._scale(damping, steepness)
        values, vectors = torch.linalg.eigh(gram / m)
        values = values.clamp_min(0)

        def series(eigenvalue: Tensor) -> Tensor:
            bent = eigenvalue + damping
            return (1 - (1 - scale * bent) ** (self.options.iterations + 1)) / bent

        flat = series(torch.zeros_like(values[0]))
        # A = flat I + X' U diag((series - flat) / (m value)) U' X, in the span of X.
        spanned = values > values.max() * 1e-12
        change = torch.where(spanned, (series(values) - flat) / (m * values.where(spanned, 1.0)), 0.0)
        return QuadraticForm(held, float(flat), (vectors * change) @ vectors.T)

    def _scale(self, damping: Tensor, steepness: Tensor) -> Tensor:
        if self.options.scale == "auto":
            return 1 / (damping + steepness)
        return torch.full_like(steepness, self.options.scale)
