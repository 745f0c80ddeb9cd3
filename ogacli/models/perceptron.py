"""Multi-layer perceptrons: linear layers on a flattened input, the last of them named ``head``."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

Impute = Literal["mean", "median", "zero"]
"""What replaces a missing value: the mean or median of its feature over the training samples, or 0."""


_TOGETHER = 64
"""Features whose statistics are taken at a time, to save memory."""


def perceptron(
    widths: Sequence[int], between: Callable[[], list[nn.Module]] = list, *, standardized: bool = False
) -> nn.Module:
    """Linear layers from each width to the next.

    Args:
        widths: Of the input, of each hidden layer, and of the output.
        between: Returns new layers to put after each hidden layer, such as an activation.
        standardized: Whether a :class:`Standardized` layer comes first.
    """
    layers: dict[str, nn.Module] = {"flat": Flat()}
    if standardized:
        layers["inputs"] = Standardized(widths[0])
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


class Standardized(nn.Module):
    """Fills in missing values and scales each feature, by statistics of the training samples.

    Until :meth:`fit` is called inputs are left as they are.

    Args:
        width: The number of features.
    """

    center: Float[Tensor, " h"]
    scale: Float[Tensor, " h"]
    fill: Float[Tensor, " h"]

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("fill", torch.full((width,), torch.nan))

    def fit(self, inputs: Float[Tensor, "n h"], *, scale: bool, impute: Impute | None) -> None:
        """Take the statistics of the training samples.

        Args:
            inputs: NaN where a value is missing.
            scale: Whether features are scaled to mean 0 and standard deviation 1.
            impute: What replaces missing values; None where samples with missing values are not used.
        """
        for start in range(0, inputs.shape[1], _TOGETHER):
            here = slice(start, start + _TOGETHER)
            values = inputs[:, here].double()
            fill = values.new_zeros(values.shape[1])
            if impute == "median":
                fill = values.new_tensor([_median(column) for column in values.T])
            elif impute == "mean":
                fill = values.nanmean(0).nan_to_num(0)
            if impute is not None:
                self.fill[here] = fill
                values = torch.where(values.isnan(), fill, values)
            if scale:
                self._scale(here, values)

    def _scale(self, here: slice, values: Float[Tensor, "n w"]) -> None:
        mean = values.nanmean(0).nan_to_num(0)
        deviation = (values - mean).square().nanmean(0).nan_to_num(0).sqrt()
        constant = deviation <= 1e-9 * mean.abs()  # nothing but rounding is left
        self.center[here] = mean
        self.scale[here] = torch.where(constant, 1.0, 1 / deviation.clamp(min=1e-30))

    def forward(self, inputs: Float[Tensor, "b h"]) -> Float[Tensor, "b h"]:
        """The scaled features."""
        return (torch.where(inputs.isnan(), self.fill, inputs) - self.center) * self.scale


def _median(values: Float[Tensor, " n"]) -> float:
    """The median of the known values, 0 without any; that of torch is the lower one of two."""
    known = values[~values.isnan()].sort().values
    return float(known[(len(known) - 1) // 2 : len(known) // 2 + 1].mean()) if len(known) else 0.0
