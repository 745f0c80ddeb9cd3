"""Networks in half or double precision, made to take inputs in float32 as the data sources give them.

In: a network, and the inputs of a sample. Out: the network, its weights in float32 where it can be called
with them; otherwise with its inputs converted to the precision of its weights.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ogacli.base.device import out_of_memory
from ogacli.models.outputs import call

_HALF = {torch.float16, torch.bfloat16}


def taking_float32(module: nn.Module, example: Any) -> nn.Module:
    """The network, changed in place.

    Weights in half precision become float32, which is exact: logits and gradients are those of the same
    network, without its rounding. Where the code of the network itself converts to half precision, the
    weights stay, and inputs are converted instead; likewise for weights in float64.

    Args:
        module: The network, on any device.
        example: Inputs of one sample, with a leading dimension of 1.
    """
    tensors = (*module.parameters(), *module.buffers())
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if kinds <= {torch.float32}:
        return module
    hooks = not isinstance(module, torch.jit.ScriptModule)  # which takes none
    if kinds & _HALF:
        module.float()
        hook = _convert_inputs(module, torch.float32) if hooks else None
        if _runs(module, example):
            return module
        if hook is not None:
            hook.remove()
    if len(kinds) == 1:
        (own,) = kinds
        module.to(own)
        if hooks:
            _convert_inputs(module, own)
    return module


def _convert_inputs(module: nn.Module, kind: torch.dtype) -> Any:
    """Convert floats among the arguments of each call of the network."""

    def converted(value: Any) -> Any:
        return value.to(kind) if isinstance(value, Tensor) and value.is_floating_point() else value

    def convert(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return tuple(map(converted, args)), {name: converted(value) for name, value in kwargs.items()}

    return module.register_forward_pre_hook(convert, with_kwargs=True)


def _runs(module: nn.Module, example: Any) -> bool:
    """Whether the network can be called."""
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))

    def there(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    moved = (
        {name: there(one) for name, one in example.items()} if isinstance(example, dict) else there(example)
    )
    try:
        with torch.no_grad():
            call(module.eval(), moved)
    except Exception as error:  # the user's code may raise anything
        if out_of_memory(error):
            raise
        return False
    return True
