"""A multi-layer perceptron on the flattened input."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from ogacli.models import Fit, NetworkSource, sources

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@sources.register
class Mlp(NetworkSource):
    """Linear layers with an activation between them."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64,)
    """The width of each hidden layer."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """After each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """After each activation, in training only."""

    def build(self, fit: Fit) -> nn.Module:
        """A network from the values of a sample, flattened, to the outputs."""
        between: list[nn.Module] = [_ACTIVATIONS[self.activation]()]
        if self.dropout:
            between.append(nn.Dropout(self.dropout))
        return perceptron((math.prod(fit.shape), *self.hidden, fit.outputs), between)


def perceptron(widths: Sequence[int], between: Sequence[nn.Module] = ()) -> nn.Module:
    """Linear layers from each width to the next on a flattened input, ``between`` after all but the last."""
    layers: list[nn.Module] = [Flat(), nn.Linear(widths[0], widths[1])]
    for inputs, outputs in zip(widths[1:-1], widths[2:], strict=True):
        layers += [*between, nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


class Flat(nn.Module):
    """Flattens each sample; whole numbers become floats."""

    def forward(self, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b h"]:
        """One row a sample."""
        rows = inputs.flatten(1)
        return rows if rows.is_floating_point() else rows.to(torch.float32)
