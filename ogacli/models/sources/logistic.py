"""Logistic regression, or with ``loss: mse`` linear regression: one linear layer on the flattened input."""

import math

from torch import nn

from ogacli.models.perceptron import perceptron
from ogacli.models.sources import Fit, NetworkSource, sources


@sources.register
class Logistic(NetworkSource):
    """One linear layer from the values of a sample, flattened, to the outputs."""

    def build(self, fit: Fit) -> nn.Module:
        """As many weights as a sample has values, times the outputs."""
        return perceptron((math.prod(fit.shape), fit.outputs))
