"""Multi-layer perceptrons: linear layers on a flattened input, the last of them named ``head``."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


def perceptron(widths: Sequence[int], between: Callable[[], list[nn.Module]] = list) -> nn.Module:
    """Linear layers from each width to the next.

    Args:
        widths: Of the input, of each hidden layer, and of the output.
        between: Returns new layers to put after each hidden layer, such as an activation.
    """
    layers: dict[str, nn.Module] = {"flat": Flat()}
    for number, (inputs, outputs) in enumerate(pairwise(widths[:-1]), start=1):
        layers[f"hidden{number}"] = nn.Sequential(nn.Linear(inputs, outputs), *between())
    layers["head"] = nn.Linear(widths[-2], widths[-1])
    return nn.Sequential(OrderedDict(layers))


class Flat(nn.Module):
    """Flattens each sample; integers become floats."""

    def forward(self, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b h"]:
        """One row a sample."""
        rows = inputs.flatten(1)
        return rows if rows.is_floating_point() else rows.to(torch.float32)
