"""Call a network, and check the outputs of its first call.

In: a module and inputs. Out: logits [b, k], or [b, k, ...] for logits of each pixel or token.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ogacli.base.device import out_of_memory
from ogacli.data import Batch
from ogacli.errors import GradientError


def first_logits(module: nn.Module, batch: Batch, outputs: int) -> Float[Tensor, "b k ..."]:
    """The logits of a batch, from the first call of a network, after checks.

    Args:
        module: The network.
        batch: Samples, on its device.
        outputs: The least size of the second dimension.

    Raises:
        GradientError: It cannot take these inputs, or does not return logits that fit the labels.
    """
    name = type(module).__name__
    try:
        logits = call(module, batch.inputs)
    except Exception as error:  # the user's code may raise anything
        if out_of_memory(error):
            raise
        raise GradientError(
            "the network cannot be called with these samples",
            place=name,
            found=f"inputs {_described(batch.inputs)}; {first_line(error)}",
            expected="inputs of the shape and type that it was made for",
            hint="check `model` and the inputs that `data` makes",
        ) from error
    b = len(batch.labels)
    if not isinstance(logits, Tensor) or not _has_rows(logits, b, outputs):
        raise GradientError(
            "the network does not return logits",
            place=name,
            found=list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__,
            expected=f"a tensor [{b}, classes], or [{b}, classes, ..] for logits of each pixel or token",
        )
    k = logits.shape[1]
    if k < outputs:
        raise GradientError(
            "more classes in the data than the model has outputs",
            place=name,
            found=f"{k} outputs",
            expected=f"at least {outputs}, as in the data",
            hint="load the model that was trained on this data, or check the label column",
        )
    return logits


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its class where it has none."""
    return str(error).partition("\n")[0] or type(error).__name__


def call(module: Callable[..., Any], inputs: Any) -> Any:
    """Call a network with a tensor, or with a mapping as keyword arguments.

    Of several outputs the ``logits`` are returned, as transformers names them, or torchvision's ``out``.
    """
    output = module(**inputs) if isinstance(inputs, dict) else module(inputs)
    if isinstance(output, dict) and "out" in output:
        return output["out"]
    return getattr(output, "logits", output)


def _has_rows(logits: Tensor, b: int, outputs: int) -> bool:
    """Whether it is [b, k], or [b, k, ..] with enough classes."""
    return logits.shape[:1] == (b,) and (logits.ndim == 2 or (logits.ndim > 2 and logits.shape[1] >= outputs))


def _described(inputs: Any) -> str:
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {_described(tensor)}" for name, tensor in inputs.items())
    if isinstance(inputs, list):
        return f"{len(inputs)} texts" if isinstance(inputs[0], str) else f"{len(inputs)} pairs of texts"
    return f"{list(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
