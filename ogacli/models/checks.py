"""Checks on the first batch that the logits of a sample depend on that sample alone.

In: a network in evaluation mode and some samples. Out: nothing; or a ``GradientError`` where samples of a
batch influence one another, a layer is in train mode, or logits change from pass to pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ogacli.errors import GradientError

PROBED = 16
"""Number of samples that are used for the checks."""
_REPEAT, _COUPLING = 1e-3, 1e-2
"""Largest differences between two passes that may be rounding, relative to the largest logit: of two equal
batches, and of batches of different sizes, for which libraries choose different algorithms."""


def check_layers(module: nn.Module) -> None:
    """Check the layers without a forward pass.

    Raises:
        GradientError: A BatchNorm has no running statistics, so that it normalises by its batch.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and (layer.running_mean is None or layer.running_var is None):
            raise GradientError(
                "batch norm without running statistics: each sample's output depends on its batch",
                place=name or type(layer).__name__,
                found="track_running_stats=False",
                hint="train with running statistics, or use group norm",
            )


@contextmanager
def in_evaluation(module: nn.Module) -> Iterator[None]:
    """A context in which every called layer must be in evaluation mode.

    Raises:
        GradientError: On leaving it, where a layer was in train mode.
    """
    trained: list[str] = []

    def noting(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, args: Any) -> None:
            if layer.training:
                trained.append(name or type(layer).__name__)

        return note

    hooks = [
        layer.register_forward_pre_hook(noting(name))
        for name, layer in module.named_modules()
        if not isinstance(layer, torch.jit.ScriptModule)  # which takes no hooks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    left = [name or type(module).__name__ for name, layer in module.named_modules() if layer.training]
    if trained or left:
        raise GradientError(
            "the network turns itself back to train mode",
            place=(trained or left)[0],
            found="training=True in a forward pass, after model.eval()",
            expected="evaluation mode throughout",
            hint="drop the calls of .train() from its code",
        )


def check_outputs(forward: Callable[[Any], Float[Tensor, "b k ..."]], inputs: Any, name: str) -> None:
    """Compare two passes over the same few samples, and a pass over half of them.

    Raises:
        GradientError: The logits of a sample change from pass to pass, or with the rest of the batch.
    """
    logits = forward(_first(inputs, PROBED))
    again = forward(_first(inputs, PROBED))
    if _differ(logits, again, _REPEAT):
        raise GradientError(
            "two passes over the same samples give different logits",
            place=name,
            found="randomness in evaluation mode, such as F.dropout(x) without training=self.training",
            expected="the same logits every time",
        )
    half = len(logits) // 2
    if half and _differ(logits[:half], forward(_first(inputs, half)), _COUPLING):
        raise GradientError(
            "the logits of a sample depend on the other samples of its batch",
            place=name,
            found="statistics of the batch in evaluation mode, such as F.batch_norm(.., training=True)",
            expected="the same logits for a sample, whatever batch it is in",
        )


def _first(inputs: Any, count: int) -> Any:
    if isinstance(inputs, dict):
        return {name: tensor[:count] for name, tensor in inputs.items()}
    return inputs[:count]


def _differ(one: Tensor, other: Tensor, share: float) -> bool:
    finite = one.isfinite() & other.isfinite()
    if not torch.equal(one.isfinite(), other.isfinite()):
        return True
    if not finite.any():
        return False
    return bool((one - other)[finite].abs().amax() > share * one[finite].abs().amax().clamp_min(1e-6))
