"""DataInf: influence with an inverse curvature in closed form (Kwon et al., ICLR 2024, arXiv 2310.00902).

The inverse of the mean of the matrices ``g_i g_i' + lambda`` is approximated by the mean of their inverses
(section 3), block by block: A = 1/m sum_i (I - g_i g_i' / (lambda + |g_i|^2)) / lambda.
"""

from collections.abc import Iterable
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._influence import InfluenceOptions
from ogacli.detectors.influence.curvature import Curvature, InverseCurvature
from ogacli.detectors.influence.quadratic_form import Held, QuadraticForm, count
from ogacli.gradients import GradientBatch
from ogacli.gradients.layers.plain import sums
from ogacli.gradients.products import combined, dots, spread, squares


@detectors.register
class DataInf(InfluenceOptions):
    """Score = -g'Av with A in closed form; against itself g'Ag."""

    damping: Annotated[float, Field(gt=0)] = 0.1
    """lambda of a block, as a multiple of the mean squared gradient entry in it."""

    def inverse(self) -> "MeanOfInverses":
        """The closed form."""
        return MeanOfInverses(self.damping)


class MeanOfInverses(InverseCurvature):
    """The mean of the inverses, in place of the inverse of the mean."""

    def __init__(self, damping: float) -> None:
        self.damping = damping

    def direction(self, batches: Iterable[GradientBatch], vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """A v in two passes over the batches: one for lambda, one for the sum."""
        curvature = Curvature.measured(batches, self.damping)
        total = torch.zeros_like(vector)
        for batch in batches:
            weights = dots(batch, vector) / (curvature.damping + squares(batch))
            total += combined(batch, curvature.only_steep(weights))
        by_block = curvature.only_steep(1 / curvature.damping)
        return spread(by_block, curvature.sizes) * (vector - total / curvature.count)

    def form(self, held: Held) -> QuadraticForm:
        """C is diagonal: one weight for each fitted sample."""
        own, m = sums([held], [2])[2], count(held)
        damping = self.damping * float(own.mean()) / held.p
        if not damping:
            return QuadraticForm(held, 0.0, torch.zeros_like(own))
        return QuadraticForm(held, 1 / damping, -1 / (m * damping * (damping + own)))
