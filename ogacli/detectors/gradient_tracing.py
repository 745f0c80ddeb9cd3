"""Gradient tracing: how far a step on the sample would raise the loss elsewhere (TracIn with one checkpoint).

Pruthi et al., NeurIPS 2020, arXiv 2002.08484, without the learning rate: minus the inner product
of the sample's gradient and the mean gradient that it is held against.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._influence import InfluenceOptions
from ogacli.detectors.influence.form import Form, Held, count
from ogacli.gradients import GradientBatch


@detectors.register
class GradientTracing(InfluenceOptions):
    """Score = -g'v; against itself the squared norm g'g."""

    def inverse(self) -> "Identity":
        """No curvature."""
        return Identity()


class Identity:
    """The curvature of a bowl that is equally steep everywhere."""

    fitted: ClassVar[bool] = False

    def direction(self, batches: Iterable[GradientBatch], vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """The vector."""
        return vector

    def form(self, held: Held) -> Form:
        """The squared norm."""
        return Form(held, 1.0, torch.zeros(count(held), dtype=torch.float64))
