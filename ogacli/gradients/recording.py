"""Record the torch functions that a network calls with selected parameters, and collect their gradients.

In: the selected parameters, and the call pattern found in earlier passes. Out: for each selected parameter,
after the backward pass, the parts of its per-sample gradient.

The parameters stay frozen: a hook takes the gradient at the *output* of a recorded call, and autograd never
computes weight gradients. Functions are recorded rather than modules, because modules use the parameters of
others: attention those of its projections, a Swin block those of its linear layers, tied layers a common one.
A function without a rule is seen as well; its parameters are left to the fallback.
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
from torch.utils.weak import WeakIdKeyDictionary, WeakIdRef

from ogacli.gradients.layers import NotCovered, Reading, rule_of
from ogacli.gradients.layers.axis import SampleAxis
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import Plain
from ogacli.gradients.layers.workspace import planned
from ogacli.gradients.routing import Routing

_HALF = (torch.bfloat16, torch.float16)


@dataclass
class CallPattern:
    """The calls of a network, found in earlier passes; a call is identified by its index in their order."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    """The function of each call and the ``id`` of the parameters among its arguments, in order."""
    axes: dict[int, SampleAxis] = field(default_factory=dict)
    """The dimension of the samples in the output of a call; a call without one is not covered."""
    uncovered: dict[str, str] = field(default_factory=dict)
    """Parameters that no rule covers, and why."""
    changed: set[int] = field(default_factory=set)
    """Calls whose arguments the network later changes in place, so that copies must be kept."""


@dataclass(eq=False)
class RecordedCall:
    """A call with selected parameters among its arguments."""

    index: int
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: torch.Size
    """Of the output."""
    versions: list[tuple[Tensor, int]]
    """The version counter of each argument at the call, to detect later changes in place."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for the same call in another pass."""
        return self.function, *(
            id(tensor) for tensor in tensors_in((self.args, self.kwargs)) if isinstance(tensor, nn.Parameter)
        )


class Recorder(TorchFunctionMode):
    """Records the calls of one forward pass, and collects parts during its backward pass.

    Args:
        module: The network.
        selection: The selected parameters by name.
        pattern: The calls found in earlier passes; updated.
        b: Number of samples.
        reductions: Applied to a parameter's part as soon as it is complete, by the ``id`` of the parameter.
    """

    def __init__(
        self,
        module: nn.Module,
        selection: Mapping[str, nn.Parameter],
        pattern: CallPattern,
        b: int,
        reductions: Mapping[int, Callable[[Part], Part]],
    ) -> None:
        super().__init__()
        self.pattern = pattern
        self.b = b
        self.roots: list[Tensor] = []
        """Leaves at which the backward pass may end: the outputs of the first recorded calls."""
        self.parts: dict[int, list[Part]] = {}
        """By ``id`` of the parameter, or of a tensor derived from parameters."""
        self.on_gradient: Callable[[RecordedCall, Tensor], None] | None = None
        """Called with the gradient at the output of a call, in place of collecting parts."""
        self.calls: list[RecordedCall] = []
        self.trainable: dict[int, Tensor] = {}
        """Copies of parameters that require gradients, from which tensors are derived; by ``id``."""
        self.derived: dict[int, Tensor] = {}
        """Tensors computed from selected parameters and constants alone, with their graph; by ``id``."""
        self._routing = Routing()
        self._reductions = reductions
        self._names = {id(parameter): name for name, parameter in selection.items()}
        self._selected = {id(p) for name, p in selection.items() if name not in pattern.uncovered}
        self._constants: WeakIdKeyDictionary = WeakIdKeyDictionary()
        for tensor in (*module.parameters(), *module.buffers()):
            self._constants[tensor] = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of every torch function."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        own, constant = False, True
        given = list(tensors_in((args, kwargs)))
        for tensor in given:
            if self._is_own(tensor):
                own = True
            elif constant and tensor not in self._constants:
                constant = False
        if own and constant:
            return self._derive(func, args, kwargs)
        if own and self._routing.holds(given):
            self._give_up(args, kwargs, "reads samples that the network picks by their values")
            output = func(*replaced(args, self._without_graph), **replaced(kwargs, self._without_graph))
        elif own:
            output = self._record(func, args, kwargs)
        elif func is F.batch_norm:
            output = frozen_batch_norm(*args, **kwargs)
        else:
            output = func(*args, **kwargs)
        if not constant:
            self._routing.see(func, args, given, output)
        elif output is not None:
            for tensor in tensors_in(output):
                self._constants[tensor] = True
        return output

    # --- forward --------------------------------------------------------------------------------------

    def _derive(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call with parameters and constants alone: its output is the same for all samples."""

        def trainable(tensor: Tensor) -> Tensor:
            if id(tensor) not in self._selected:
                return tensor
            if id(tensor) not in self.trainable:
                self.trainable[id(tensor)] = tensor.detach().requires_grad_()
            return self.trainable[id(tensor)]

        output = func(*replaced(args, trainable), **replaced(kwargs, trainable))
        for tensor in tensors_in(output):
            if tensor.requires_grad:
                self.derived[id(tensor)] = tensor
            else:
                self._constants[tensor] = True
        return output

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call with parameters and activations."""
        rule = rule_of(func)
        if rule is None and isinstance(func, FunctionType) and func.__module__ == F.__name__:
            with self:
                return without_override(func)(*args, **kwargs)
        index = len(self.calls)
        detached = partial(self._detached, copy=index in self.pattern.changed)
        kept = replaced(args, detached), replaced(kwargs, detached)
        step = frozen_batch_norm if func is F.batch_norm else func
        output = step(*replaced(args, self._without_graph), **replaced(kwargs, self._without_graph))
        if rule is None or not isinstance(output, Tensor) or not output.is_floating_point():
            if next(tensors_in(output), None) is not None:
                self._give_up(args, kwargs, f"is read by {name_of(func)}, which has no rule")
            return output
        if not output.requires_grad:
            if func.__name__.endswith("_") and not func.__name__.endswith("__"):
                self._give_up(args, kwargs, f"is read by {name_of(func)}, which works in place")
                return output
            leaf = output.detach().requires_grad_()
            self.roots.append(leaf)
            output = leaf.clone()
        versions = [(tensor, tensor._version) for tensor in tensors_in(kept)]
        recorded = RecordedCall(index, func, *kept, output.shape, versions)
        self.calls.append(recorded)
        output.register_hook(partial(self._receive, recorded))
        return output

    def _is_own(self, tensor: Tensor) -> bool:
        """Whether a tensor is a selected parameter, or derived from some."""
        return id(tensor) in self._selected or id(tensor) in self.derived

    def _detached(self, tensor: Tensor, *, copy: bool) -> Tensor:
        if self._is_own(tensor):
            return tensor
        tensor = tensor.detach()  # shares the version counter, but keeps no graph in memory
        return tensor.clone() if copy else tensor

    def _without_graph(self, tensor: Tensor) -> Tensor:
        return tensor.detach() if id(tensor) in self.derived else tensor

    def _give_up(self, args: Any, kwargs: Any, reason: str) -> None:
        for tensor in tensors_in((args, kwargs)):
            for origin in self.origins(tensor):
                self.pattern.uncovered.setdefault(self._names[origin], reason)

    def origins(self, tensor: Tensor) -> list[int]:
        """The ``id`` of each selected parameter that a tensor is, or is derived from."""
        if id(tensor) in self._selected:
            return [id(tensor)]
        if id(tensor) not in self.derived:
            return []
        leaves = leaves_of(tensor)
        return [key for key, parameter in self.trainable.items() if id(parameter) in leaves]

    @cached_property
    def _origins(self) -> set[int]:
        """The ``id`` of the parameters that tensors are derived from; after the forward pass."""
        return {origin for tensor in self.derived.values() for origin in self.origins(tensor)}

    # --- backward -------------------------------------------------------------------------------------

    def _receive(self, call: RecordedCall, gradient: Tensor) -> None:
        # A bound method as the default of ``on_gradient`` would be a reference cycle that holds the factors.
        (self.on_gradient or self._collect)(call, gradient)

    @torch.no_grad()
    def _collect(self, call: RecordedCall, gradient: Tensor) -> None:
        if any(tensor._version != version for tensor, version in call.versions):
            self.pattern.changed.add(call.index)
            return
        axis = self.pattern.axes.get(call.index)
        if axis is None or not axis.fits(call.shape, self.b):
            self._give_up(
                call.args, call.kwargs, f"is read by {name_of(call.function)} for all samples at once"
            )
            return
        wanted = frozenset(id(t) for t in tensors_in((call.args, call.kwargs)) if self._is_own(t))
        single = partial(self._single, wanted)
        reading = Reading(axis.first(single(gradient), self.b), self.b, len(call.shape), axis, wanted)
        rule = rule_of(call.function)
        assert rule is not None
        try:
            for tensor, part in rule(reading, *replaced(call.args, single), **replaced(call.kwargs, single)):
                reduce = self._reductions.get(id(tensor))
                small = isinstance(part, Plain) and part.values.device.type != "cpu"
                if reduce is not None and not small and id(tensor) not in self._origins:
                    part = reduce(part)
                self.parts.setdefault(id(tensor), []).append(part)
        except NotCovered as reason:
            self._give_up(call.args, call.kwargs, f"is read by {reason}")
        call.args, call.kwargs, call.versions = (), {}, []

    @staticmethod
    def _single(wanted: frozenset[int], tensor: Tensor) -> Tensor:
        """Half precision as float32, in which products are exact and sums do not overflow."""
        return tensor.float() if tensor.dtype in _HALF and id(tensor) not in wanted else tensor


class _FrozenBatchNorm(torch.autograd.Function):
    """Batch norm with fixed statistics, a linear map: its backward pass scales the gradient."""

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
    """Batch norm in evaluation mode with frozen parameters; its backward pass scales the gradient."""
    rest = (running_mean, running_var, weight, bias, training, momentum, eps)
    if training or running_mean is None or running_var is None or not input.requires_grad:
        return F.batch_norm(input, *rest)

    def scales() -> Tensor:
        scale = torch.rsqrt(running_var + eps)
        scale = scale if weight is None else scale * weight.detach()
        return scale.reshape(-1, *(1,) * (input.ndim - 2))

    key = "batch norm", running_var._version, input.ndim, eps, *_identity(weight)
    return _FrozenBatchNorm.apply(input, planned(running_var, key, scales), *rest)  # type: ignore[no-any-return]


def _identity(weight: Tensor | None) -> tuple[object, ...]:
    return () if weight is None else (WeakIdRef(weight), weight._version)


@cache
def without_override(func: FunctionType) -> FunctionType:
    """A copy of a function of ``torch.nn.functional`` that runs its own code under a ``TorchFunctionMode``.

    The original passes itself to the mode as one call. In the copy, the checks for overrides return False, so
    that the mode receives the functions that it calls.
    """
    namespace = dict(func.__globals__)
    for check in ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"):
        namespace[check] = lambda *tensors: False
    copy = FunctionType(func.__code__, namespace, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, also in lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)


def replaced(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Arguments with a function applied to every tensor."""
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
    """The ``id`` of every leaf of a tensor's autograd graph."""
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
    """The name of a function for messages."""
    return str(getattr(func, "__name__", func))
