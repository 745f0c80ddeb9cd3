"""The head of a network that returns logits of each pixel: its last convolution.

In: a network and inputs. Out: the convolution whose output the logits are, as it is or upsampled bilinearly.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.errors import GradientError
from ogacli.models.head import agrees, by_name
from ogacli.models.outputs import call


def find_pixel_head(module: nn.Module, inputs: Any, named: str | None) -> nn.Conv2d:
    """The convolution that makes the logits.

    Args:
        module: The network.
        inputs: Of a few samples.
        named: The layer's name, if the user gave it; it is then taken as it is.

    Raises:
        GradientError: There is none.
    """
    if named is not None:
        return by_name(module, named, nn.Conv2d)
    calls: list[tuple[nn.Conv2d, Tensor]] = []

    def note(layer: nn.Module, args: Any, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        calls.append((layer, output))

    hooks = [one.register_forward_hook(note) for one in module.modules() if isinstance(one, nn.Conv2d)]
    try:
        with torch.no_grad():
            logits = call(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, output in reversed(calls):
        if _makes(output, logits):
            return layer
    raise GradientError(
        "the network's logits are not the output of one of its convolutions, so it has no head",
        place=type(module).__name__,
        found=f"logits {list(logits.shape)}",
        expected="a torch.nn.Conv2d whose output is returned as it is, or upsampled bilinearly",
        hint="name the last convolution as `model.head`, or select layers in `gradients.layers`",
    )


def _makes(output: Float[Tensor, "b k i j"], logits: Float[Tensor, "b k h w"]) -> bool:
    """Whether these are the logits, up to upsampling."""
    if output.ndim != logits.ndim or output.shape[:2] != logits.shape[:2]:
        return False
    if output.shape == logits.shape:
        return agrees(output, logits)
    upsampled = partial(F.interpolate, output, size=logits.shape[2:], mode="bilinear")
    return any(agrees(upsampled(align_corners=corners), logits) for corners in (False, True))
