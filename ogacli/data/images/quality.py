"""How dark, bright and sharp pictures are.

In: the inputs of samples, as the network gets them. Out: three measures of each picture, from which
``verdict.pictures`` tells the poor ones.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

MEASURES = 3
"""Numbers that are kept of each picture."""
_SMALLEST = 16
"""Pixels of a side; smaller pictures are not judged."""
_LARGEST = 64
"""Pixels of a side among which the darkest and brightest ones are looked for."""
_EXTREME = 0.01
"""The share of the pixels of a picture that are left out as extreme."""


def measured(inputs: Any) -> Float[Tensor, "b 3"] | None:
    """The darkest and the brightest grey of each picture, but for 1 % of its pixels, and its detail.

    Grey is the mean of the channels. The detail is log(s / t), where s is the root mean square of the
    Laplacian and t the standard deviation of the grey values: blurring takes more from s than from t
    (Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000). It is not finite for a
    blank picture.

    Returns:
        None where inputs are no pictures.
    """
    if not are_pictures(inputs):
        return None
    grey = inputs.float().mean(1)
    height, width = grey.shape[1:]
    few = grey[:, :: -(-height // _LARGEST), :: -(-width // _LARGEST)].flatten(1)
    count = int(few.shape[1] * _EXTREME) + 1
    darkest = few.topk(count, 1, largest=False).values[:, -1]
    brightest = few.topk(count, 1).values[:, -1]
    middle = grey[:, 1:-1, 1:-1]
    beside = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    laplacian = beside.sub_(middle, alpha=4)
    detail = laplacian.flatten(1).square().mean(1).sqrt() / few.std(1)
    return torch.stack([darkest, brightest, detail.log()], 1)


def are_pictures(inputs: Any) -> bool:
    """Whether inputs are tensors [b, 1 or 3, h, w] with sides of at least 16 pixels."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.is_complex():
        return False
    return inputs.shape[1] in (1, 3) and min(inputs.shape[2:]) >= _SMALLEST
