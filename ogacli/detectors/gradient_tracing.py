"""Gradient tracing: how much a gradient step on the sample would raise the loss elsewhere (TracIn).

Pruthi et al., NeurIPS 2020, arXiv 2002.08484, section 3, with one checkpoint and without the learning rate:
minus the inner product of the sample's gradient and the mean gradient that it is compared with.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._influence import InfluenceOptions
from ogacli.detectors.influence.curvature import InverseCurvature
from ogacli.detectors.influence.quadratic_form import Held, QuadraticForm, count
from ogacli.gradients import GradientBatch


@detectors.register
class GradientTracing(InfluenceOptions):
    """Score = -g'v; against itself the squared norm g'g."""

    def inverse(self) -> "Identity":
        """The identity."""
        return Identity()


class Identity(InverseCurvature):
    """A = I: no curvature is taken into account."""

    fitted: ClassVar[bool] = False

    def direction(self, batches: Iterable[GradientBatch], vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """The vector itself."""
        return vector

    def form(self, held: Held) -> QuadraticForm:
        """The squared norm."""
        return QuadraticForm(held, 1.0, torch.zeros(count(held), dtype=torch.float64))
