"""The head of a network: the linear layer whose output the logits are.

In: the calls of the linear layers in a forward pass, and the logits. Out: the layer, after a check that its
output equals the logits. A network that changes the output of its last layer has no head in this sense.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ogacli.errors import GradientError

L = TypeVar("L", nn.Linear, nn.Conv2d)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a linear layer during a forward pass."""

    module: nn.Linear
    read: Tensor
    output_size: int


def read_by(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The input that a linear layer was called with."""
    found = args[0] if args else kwargs["input"]
    assert isinstance(found, Tensor)
    return found


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Call]]:
    """A context in which every call of a linear layer is recorded."""
    calls: list[Call] = []

    def note(linear: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        assert isinstance(linear, nn.Linear)
        calls.append(Call(linear, read_by(args, kwargs), output.numel()))

    linears = [one for one in module.modules() if isinstance(one, nn.Linear)]
    hooks = [linear.register_forward_hook(note, with_kwargs=True) for linear in linears]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def find_head(
    module: nn.Module, calls: list[Call], logits: Float[Tensor, "b k ..."], named: str | None
) -> nn.Linear:
    """The linear layer whose output the logits are.

    Args:
        module: The network.
        calls: The calls of its linear layers in the pass that gave ``logits``.
        logits: What the network returned.
        named: The layer's name, if the user gave it.

    Raises:
        GradientError: There is none, it is used more than once, or its weight is shared with another layer.
    """
    chosen = None if named is None else by_name(module, named, nn.Linear)
    candidates = [call for call in calls if chosen is None or call.module is chosen]
    heads = [call.module for call in reversed(candidates) if logits.ndim == 2 and _makes(call, logits)]
    if not heads:
        raise GradientError(
            "the logits are not the output of this layer, so its gradient is not known from them"
            if named
            else "the network's logits are not the output of one of its linear layers, so it has no head",
            place=f"model.head {named!r}" if named else type(module).__name__,
            found=None if logits.ndim == 2 else f"logits {list(logits.shape)}",
            expected="a torch.nn.Linear whose output is returned as it is, but for its shape",
            hint="return the logits before any softmax, scaling or pooling",
        )
    _check_used_once(module, heads[0], calls)
    return heads[0]


def as_rows(read: Shaped[Tensor, "..."], b: int) -> Shaped[Tensor, "b h"]:
    """The head's input, one row a sample: dimensions of size 1 are dropped."""
    return read if read.ndim == 2 else read.reshape(b, -1)


def name_of(module: nn.Module, head: nn.Module) -> str:
    """The dotted name of a layer."""
    return next(name for name, one in module.named_modules() if one is head) or type(head).__name__


def by_name(module: nn.Module, name: str, kind: type[L]) -> L:
    """The layer of that dotted name.

    Args:
        module: The network.
        name: Of the layer.
        kind: ``nn.Linear``, or ``nn.Conv2d`` for logits of each pixel.

    Raises:
        GradientError: There is no such layer, or it is of another kind.
    """
    modules = dict(module.named_modules())
    found = modules.get(name)
    if not isinstance(found, kind):
        what = "linear layer" if kind is nn.Linear else "convolution"
        known = [known for known, one in modules.items() if isinstance(one, kind)]
        raise GradientError(
            "no such layer in the network" if found is None else f"not a {what} of the network",
            place=f"model.head {name!r}",
            found=None if found is None else type(found).__name__,
            expected=f"one of {', '.join(known[-8:])}" if known else f"a {what}; the network has none",
        )
    return found


def _makes(call: Call, logits: Float[Tensor, "b k"]) -> bool:
    """Whether the layer computes these logits from its input."""
    b = len(logits)
    if call.output_size != logits.numel() or call.read.numel() != b * call.module.in_features:
        return False
    made = nn.functional.linear(as_rows(call.read, b), call.module.weight, call.module.bias)
    return agrees(made.to(logits.dtype), logits)


def agrees(made: Float[Tensor, "b k"], logits: Float[Tensor, "b k"]) -> bool:
    """Whether the output of a layer is the logits.

    A network may replace some of it by minus infinity, which means a probability of 0: the loss does not
    depend on these outputs. At least one logit must not be replaced.
    """
    masked = logits.isneginf()
    finite = logits.isfinite()
    if masked.any() and not finite.any():
        return False
    tolerance = 1e-4 * float(logits[finite].abs().amax()) if finite.any() else 0.0
    made = made.masked_fill(masked, -torch.inf)
    return torch.allclose(made, logits, rtol=1e-4, atol=tolerance, equal_nan=True)


def _check_used_once(module: nn.Module, head: nn.Linear, calls: list[Call]) -> None:
    uses = sum(call.module is head for call in calls)
    owners = [
        f"{owner}.{name}"
        for owner, layer in module.named_modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if layer is not head and parameter is head.weight
    ]
    if uses > 1 or owners:
        raise GradientError(
            f"the head is called {uses} times in one pass" if uses > 1 else "the head's weight is tied",
            place=name_of(module, head),
            found=None if uses > 1 else f"the same parameter as {', '.join(owners)}",
            expected="a head whose gradient comes from the logits alone",
        )
