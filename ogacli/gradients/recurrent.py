"""Recurrent networks on a GPU: cuDNN has no backward pass for them outside of training mode.

In: a network. Out: a context in which torch computes its recurrent layers without cuDNN.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ogacli.base.precision import without_cudnn

_CALLS = frozenset(("lstm", "gru", "rnn_tanh", "rnn_relu"))
_LAYERS = frozenset(("LSTM", "GRU", "RNN"))


class _Plain(TorchFunctionMode):
    """Turns cuDNN off for the calls of recurrent layers alone."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of every torch function."""
        if getattr(func, "__name__", "") not in _CALLS:
            return func(*args, **(kwargs or {}))
        with without_cudnn():
            return func(*args, **(kwargs or {}))


def without_cudnn_for_recurrent(module: nn.Module) -> AbstractContextManager[Any]:
    """A context for forward and backward passes; TorchScript runs wholly without cuDNN there."""
    layers = list(module.modules())
    tensor = next(module.parameters(), None)
    if tensor is None or tensor.device.type == "cpu":
        return nullcontext()
    if any(isinstance(one, torch.jit.ScriptModule) and one.original_name in _LAYERS for one in layers):
        return without_cudnn()
    return _Plain() if any(isinstance(one, nn.RNNBase) for one in layers) else nullcontext()
