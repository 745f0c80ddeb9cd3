"""A multi-layer perceptron on the flattened input."""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from ogacli.models.perceptron import perceptron
from ogacli.models.sources import Fit, sources
from ogacli.models.sources._standardized import StandardizedSource

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@sources.register
class Mlp(StandardizedSource):
    """Linear layers with an activation between them."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64,)
    """The width of each hidden layer."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """After each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """After each activation, in training only."""

    def build(self, fit: Fit) -> nn.Module:
        """A network from the values of a sample, flattened, to the outputs."""
        widths = (math.prod(fit.shape), *self.hidden, fit.outputs)
        return perceptron(widths, self._between, standardized=self.standardizes(fit))

    def _between(self) -> list[nn.Module]:
        activation: nn.Module = _ACTIVATIONS[self.activation]()
        return [activation, nn.Dropout(self.dropout)] if self.dropout else [activation]
