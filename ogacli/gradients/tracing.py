"""Sees every function of torch that a network calls while it is open, and taps those that read parameters.

In: the selected parameters and what is known of earlier passes. Out: for each selected parameter, once the
backward pass has run, the parts of its per-sample gradient.

The parameters stay frozen, so autograd computes the gradient at what a tapped call *returned* and never a
weight gradient. Functions are watched rather than modules, as modules read parameters of others (attention
reads its projections', a Swin block its linear layers', tied layers each other's); a function that no rule
covers is thus seen too, and its parameters are left to the fallback.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from ogacli.gradients.layers import NotCovered, Reading, rule_of
from ogacli.gradients.layers.axis import SampleAxis
from ogacli.gradients.layers.part import Part

_HALF = (torch.bfloat16, torch.float16)


@dataclass
class Known:
    """What earlier passes found out; a call is known by its place in the order of the calls."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    """Each call's function and the parameters that it read, in order."""
    axes: dict[int, SampleAxis] = field(default_factory=dict)
    """Where the samples are in what the call returned; a call without one is not covered."""
    lost: dict[str, str] = field(default_factory=dict)
    """Parameters that no rule covers, and why."""
    changed: set[int] = field(default_factory=set)
    """Calls whose arguments the network changes in place afterwards, so that copies must be kept."""


@dataclass(eq=False)
class Tapped:
    """A call that read selected parameters."""

    index: int
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: torch.Size
    versions: list[tuple[Tensor, int]]

    @property
    def key(self) -> tuple[Any, ...]:
        """Tells whether a later pass made the same call."""
        return self.function, *(
            id(tensor) for tensor in tensors_in((self.args, self.kwargs)) if isinstance(tensor, nn.Parameter)
        )


class Watch(TorchFunctionMode):
    """Watches one forward pass, then collects from its backward pass."""

    def __init__(self, module: nn.Module, wanted: Mapping[str, nn.Parameter], known: Known, b: int) -> None:
        super().__init__()
        self.known = known
        self.b = b
        self.roots: list[Tensor] = []
        """Leaves whose gradient makes the backward pass go as deep as it must, and no deeper."""
        self.parts: dict[int, list[Part]] = {}
        """By ``id`` of the parameter, or of a tensor made of parameters."""
        self.arrived: Callable[[Tapped, Tensor], None] | None = None
        """What to do with the gradient at a call's output, in place of collecting parts."""
        self.settle: Callable[[int, Part], Part] | None = None
        """What to put in place of a parameter's part when it comes, by the ``id`` of the parameter."""
        self.calls: list[Tapped] = []
        self._names = {id(parameter): name for name, parameter in wanted.items()}
        self._wanted = {id(p): p for name, p in wanted.items() if name not in known.lost}
        self.live: dict[int, Tensor] = {}
        """Parameters with autograd on, for what is made of parameters alone."""
        self.made: dict[int, Tensor] = {}
        """What is made of selected parameters and constants alone, with its graph."""
        self._constants: WeakIdKeyDictionary = WeakIdKeyDictionary()
        for tensor in (*module.parameters(), *module.buffers()):
            self._constants[tensor] = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called in place of every function of torch."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        own, constant = False, True
        for tensor in tensors_in((args, kwargs)):
            if id(tensor) in self._wanted or id(tensor) in self.made:
                own = True
            elif constant and tensor not in self._constants:
                constant = False
        if own and constant:
            return self._make(func, args, kwargs)
        if own:
            return self._read(func, args, kwargs)
        if func is F.batch_norm:
            return frozen_batch_norm(*args, **kwargs)
        output = func(*args, **kwargs)
        if constant:
            for tensor in tensors_in(output):
                self._constants[tensor] = True
        return output

    # --- forward --------------------------------------------------------------------------------------

    def _make(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A step from parameters and constants to something that the samples share."""

        def alive(tensor: Tensor) -> Tensor:
            if id(tensor) not in self._wanted:
                return tensor
            if id(tensor) not in self.live:
                self.live[id(tensor)] = tensor.detach().requires_grad_()
            return self.live[id(tensor)]

        output = func(*replaced(args, alive), **replaced(kwargs, alive))
        for tensor in tensors_in(output):
            if tensor.requires_grad:
                self.made[id(tensor)] = tensor
            else:
                self._constants[tensor] = True
        return output

    def _read(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A step that reads parameters together with what came from the samples."""
        rule = rule_of(func)
        if rule is None and isinstance(func, FunctionType) and func.__module__ == F.__name__:
            with self:
                return opened(func)(*args, **kwargs)
        index = len(self.calls)
        still = partial(self._still, copied=index in self.known.changed)
        kept = replaced(args, still), replaced(kwargs, still)
        step = frozen_batch_norm if func is F.batch_norm else func
        output = step(*replaced(args, self._apart), **replaced(kwargs, self._apart))
        if rule is None or not isinstance(output, Tensor) or not output.is_floating_point():
            if any(True for _ in tensors_in(output)):
                self._lose(args, kwargs, f"is read by {name_of(func)}, which has no rule")
            return output
        if not output.requires_grad:
            if func.__name__.endswith("_") and not func.__name__.endswith("__"):
                self._lose(args, kwargs, f"is read by {name_of(func)}, which works in place")
                return output
            leaf = output.detach().requires_grad_()
            self.roots.append(leaf)
            output = leaf.clone()
        versions = [(tensor, tensor._version) for tensor in tensors_in(kept)]
        tapped = Tapped(index, func, *kept, output.shape, versions)
        self.calls.append(tapped)
        output.register_hook(partial(self._arrive, tapped))
        return output

    def _still(self, tensor: Tensor, *, copied: bool) -> Tensor:
        if id(tensor) in self._wanted or id(tensor) in self.made:
            return tensor
        tensor = tensor.detach()  # shares the version counter, but keeps no graph alive
        return tensor.clone() if copied else tensor

    def _apart(self, tensor: Tensor) -> Tensor:
        return tensor.detach() if id(tensor) in self.made else tensor

    def _lose(self, args: Any, kwargs: Any, reason: str) -> None:
        for tensor in tensors_in((args, kwargs)):
            for origin in self.origins(tensor):
                self.known.lost.setdefault(self._names[origin], reason)

    def origins(self, tensor: Tensor) -> list[int]:
        """The ``id`` of each selected parameter that a tensor is, or is made of."""
        if id(tensor) in self._wanted:
            return [id(tensor)]
        if id(tensor) not in self.made:
            return []
        leaves = leaves_of(tensor)
        return [key for key, live in self.live.items() if id(live) in leaves]

    @cached_property
    def _behind(self) -> set[int]:
        """The ``id`` of the parameters that something is made of; after the forward pass."""
        return {origin for made in self.made.values() for origin in self.origins(made)}

    # --- backward -------------------------------------------------------------------------------------

    def _arrive(self, tapped: Tapped, gradient: Tensor) -> None:
        # No bound method is kept as the default: it would tie the factors of a batch into a cycle.
        (self.arrived or self._collect)(tapped, gradient)

    @torch.no_grad()
    def _collect(self, tapped: Tapped, gradient: Tensor) -> None:
        if any(tensor._version != version for tensor, version in tapped.versions):
            self.known.changed.add(tapped.index)
            return
        axis = self.known.axes.get(tapped.index)
        if axis is None or not axis.fits(tapped.shape, self.b):
            self._lose(
                tapped.args, tapped.kwargs, f"is read by {name_of(tapped.function)} for all samples at once"
            )
            return
        wanted = frozenset(
            id(t)
            for t in tensors_in((tapped.args, tapped.kwargs))
            if id(t) in self._wanted or id(t) in self.made
        )
        single = partial(self._single, wanted)
        reading = Reading(axis.first(single(gradient), self.b), self.b, len(tapped.shape), axis, wanted)
        rule = rule_of(tapped.function)
        assert rule is not None
        try:
            for tensor, part in rule(
                reading, *replaced(tapped.args, single), **replaced(tapped.kwargs, single)
            ):
                if self.settle is not None and id(tensor) in self._wanted and id(tensor) not in self._behind:
                    part = self.settle(id(tensor), part)
                self.parts.setdefault(id(tensor), []).append(part)
        except NotCovered as reason:
            self._lose(tapped.args, tapped.kwargs, f"is read by {reason}")
        tapped.args, tapped.kwargs, tapped.versions = (), {}, []

    @staticmethod
    def _single(wanted: frozenset[int], tensor: Tensor) -> Tensor:
        """Half precision becomes float32, in which its products are exact and their sums do not overflow."""
        return tensor.float() if tensor.dtype in _HALF and id(tensor) not in wanted else tensor


class _FrozenBatchNorm(torch.autograd.Function):
    """Batch norm as the fixed linear map that it is: the gradient is only scaled."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, scale: Tensor, *rest: Any) -> Tensor:
        ctx.save_for_backward(scale)
        return F.batch_norm(input, *rest)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (scale,) = ctx.saved_tensors
        return gradient * scale, *(None,) * 8


def frozen_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch norm with a backward pass that only scales, as its statistics and parameters are fixed."""
    rest = (running_mean, running_var, weight, bias, training, momentum, eps)
    if training or running_mean is None or running_var is None or not input.requires_grad:
        return F.batch_norm(input, *rest)
    scale = torch.rsqrt(running_var + eps)
    if weight is not None:
        scale = scale * weight.detach()
    scale = scale.reshape(-1, *(1,) * (input.ndim - 2))
    return _FrozenBatchNorm.apply(input, scale, *rest)  # type: ignore[no-any-return]


@cache
def opened(func: FunctionType) -> FunctionType:
    """A function of ``torch.nn.functional`` that goes about its steps although it is being watched.

    Such a function hands itself over as a whole to whoever watches; the copy's answer to the question
    whether anybody does is no, so that its steps are seen one by one.
    """
    namespace = dict(func.__globals__)
    for question in ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"):
        namespace[question] = lambda *tensors: False
    copy = FunctionType(func.__code__, namespace, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, in lists and mappings too."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)


def replaced(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Arguments with every tensor changed."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, tuple) and not hasattr(values, "_fields"):
        return tuple(replaced(value, change) for value in values)
    if isinstance(values, list):
        return [replaced(value, change) for value in values]
    if isinstance(values, dict):
        return {name: replaced(value, change) for name, value in values.items()}
    return values


def leaves_of(tensor: Tensor) -> set[int]:
    """The ``id`` of every leaf that a tensor's graph reaches."""
    if tensor.grad_fn is None:
        return {id(tensor)}
    found, todo, seen = set(), [tensor.grad_fn], set()
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        todo += [following for following, _ in node.next_functions if following is not None]
    return found


def name_of(func: Any) -> str:
    """How a function is called in messages."""
    return str(getattr(func, "__name__", func))
