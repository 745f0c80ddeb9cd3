"""A multi-layer perceptron on the flattened input."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from ogacli.models.sources import Fit, NetworkSource, sources

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
        return perceptron((math.prod(fit.shape), *self.hidden, fit.outputs), self._between)

    def _between(self) -> list[nn.Module]:
        activation: nn.Module = _ACTIVATIONS[self.activation]()
        return [activation, nn.Dropout(self.dropout)] if self.dropout else [activation]


def perceptron(widths: Sequence[int], between: Callable[[], list[nn.Module]] = list) -> nn.Module:
    """Linear layers from each width to the next on a flattened input; new layers ``between`` them."""
    layers: dict[str, nn.Module] = {"flat": Flat()}
    for number, (inputs, outputs) in enumerate(pairwise(widths[:-1]), start=1):
        layers[f"hidden{number}"] = nn.Sequential(nn.Linear(inputs, outputs), *between())
    layers["head"] = nn.Linear(widths[-2], widths[-1])
    return nn.Sequential(OrderedDict(layers))


class Flat(nn.Module):
    """Flattens each sample; whole numbers become floats."""

    def forward(self, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b h"]:
        """One row a sample."""
        rows = inputs.flatten(1)
        return rows if rows.is_floating_point() else rows.to(torch.float32)
