"""Logistic regression, or with ``loss: mse`` linear regression: one linear layer on the flattened input."""

import math

from torch import nn

from ogacli.models.perceptron import perceptron
from ogacli.models.sources import Fit, sources
from ogacli.models.sources._standardized import StandardizedSource


@sources.register
class Logistic(StandardizedSource):
    """One linear layer from the values of a sample, flattened, to the outputs."""

    def build(self, fit: Fit) -> nn.Module:
        """As many weights as a sample has values, times the outputs."""
        return perceptron((math.prod(fit.shape), fit.outputs), standardized=self.standardizes(fit))
