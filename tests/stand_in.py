"""A stand-in for two GPUs: tensors that say they are on ``standin:0`` or ``standin:1`` and are on the CPU.

An operation with tensors of several devices is refused, as on a GPU. Operations and synchronisations are
counted by the line of ``ogacli`` that asks for them; views and allocations are no operations. Inference mode,
autocast, pinned memory and torch's settings for TF32 and cuDNN work as on a GPU.
"""

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

NAME = "standin"
_aten = torch.ops.aten
_CAST = ("linear", "mm", "bmm", "addmm", "baddbmm", "matmul", "conv1d", "conv2d", "conv3d", "convolution",
    "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input")  # fmt: skip
"""What autocast computes in bfloat16."""
_NO_WORK = {
    "empty", "empty_strided", "new_empty", "new_empty_strided", "empty_like",
    "detach", "alias", "lift_fresh", "_unsafe_view", "_reshape_alias", "set_", "resize_",
}  # fmt: skip
_WAITS = {
    "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive",
    "bincount", "equal", "is_nonzero", "_local_scalar_dense", "linalg_cholesky_ex", "_linalg_eigh",
    "_linalg_svd", "linalg_qr", "linalg_inv_ex", "histc",
}  # fmt: skip
"""Operations that give a number to the host, or whose output has a size that the values decide."""
_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "dot", "mv", "addmv"}
_CONVOLUTIONS = {"convolution", "convolution_backward", "_convolution"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_UNPADDED = {"mm", "bmm", "addmm", "cat", "stack"}
"""These refuse even a number of the other device."""


class MixedDevices(RuntimeError):
    """An operation met tensors of several devices."""


class Counts:
    """What the device did since the last ``reset``."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.operations: Counter[str] = Counter()
        """By name."""
        self.lines: Counter[str] = Counter()
        """Operations by the line that asks for them."""
        self.waits: Counter[tuple[str, str]] = Counter()
        """Synchronisations by kind and line."""
        self.bytes: Counter[str] = Counter()
        """Copied ``to host`` and ``to device``."""
        self.tensors: Counter[int] = Counter()
        """Made on each of the two devices."""

    @property
    def total(self) -> int:
        return sum(self.operations.values())

    @property
    def synchronisations(self) -> int:
        return sum(self.waits.values())


COUNTS = Counts()
CAPACITY = [1 << 40]
"""Bytes of the largest tensor that the device can hold."""
FREE = [64 << 30]
"""What the device says is free."""
ALIVE: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""The values of the tensors on the device."""
_pinned: set[int] = set()
_waiting: list[Exception] = []
_training = [False]
_by_cudnn: "WeakIdKeyDictionary" = WeakIdKeyDictionary()


def _fail(error: Exception) -> None:
    """Raise an error; one from a backward pass at the next operation after that pass.

    In the backward thread of a device that is written in Python an error would end the process.
    """
    if torch._C._current_graph_task_id() == -1:
        raise error
    _waiting.append(error)


def _raise_waiting() -> None:
    if _waiting and torch._C._current_graph_task_id() == -1:
        error = _waiting[0]
        _waiting.clear()
        raise error


def _line() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/ogacli/" in name:
            return f"{name.rpartition('/ogacli/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _wait(kind: str) -> None:
    COUNTS.waits[kind, _line()] += 1


class OnDevice(Tensor):
    """A tensor of the device; ``values`` are on the CPU."""

    @staticmethod
    def __new__(cls, values: Tensor, index: int | None = None) -> "OnDevice":
        index = _current[0] if index is None else index
        if values.nbytes > CAPACITY[0]:
            _fail(torch.OutOfMemoryError(f"stand-in out of memory: {values.nbytes} bytes"))
        made = Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, layout=values.layout, device=torch.device(NAME, index),
        )  # fmt: skip
        made.values_ = values
        ALIVE[values] = True
        COUNTS.tensors[index] += 1
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnDevice":
        with torch.no_grad():
            copied = OnDevice(self.values_.clone(memory_format=torch.preserve_format), self.device.index)
        if isinstance(self, nn.Parameter):
            copied = nn.Parameter(copied, requires_grad=self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        return f"OnDevice({tuple(self.shape)}, {self.dtype})"


def dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the values, after checks, and count it."""
    _raise_waiting()
    leaves = tree_leaves((args, kwargs))
    own = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    wanted = kwargs.get("device")
    wanted = None if wanted is None else torch.device(wanted)
    if not own and (wanted is None or wanted.type != NAME):
        return func(*args, **kwargs)
    if func is _aten._has_compatible_shallow_copy_type.default:
        return True
    if torch.is_inference_mode_enabled() and func._can_decompose():
        with _Mode():
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
    name = func._schema.name.removeprefix("aten::")
    others = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, OnDevice)]
    copying = name in ("copy_", "_to_copy")
    index = wanted.index if wanted is not None and wanted.type == NAME else None
    if wanted is None or wanted.type != NAME:
        index = own[0].device.index
    if own and not copying:
        _refuse_mixed(name, args, others)
        if len({leaf.device.index for leaf in own}) > 1:
            _fail(MixedDevices(f"{name}: tensors of both devices; {_line()}"))
    if any(isinstance(leaf, torch.Generator) for leaf in leaves):
        _fail(MixedDevices(f"{name}: a generator of the CPU"))
    view = any(one.alias_info is not None and not one.alias_info.is_write for one in func._schema.returns)
    if not view and name not in _NO_WORK:
        COUNTS.operations[name] += 1
        COUNTS.lines[_line()] += 1
    _count_waits(name, args, kwargs, wanted)

    def inner(leaf: Any) -> Any:
        return leaf.values_ if isinstance(leaf, OnDevice) else leaf

    plain, named = tree_map(inner, args), tree_map(inner, kwargs)
    if wanted is not None:
        named["device"] = torch.device("cpu")
        named.pop("pin_memory", None)
    if name == "_to_copy":
        named.pop("non_blocking", None)
    plain = _rounded(name, plain)
    found = _cell(name, *plain) if name in _CELLS else func(*plain, **named)
    if name == "copy_" and not isinstance(args[0], OnDevice):
        return args[0]
    if name == "_to_copy" and wanted is not None and wanted.type == "cpu":
        return found.clone() if any(found is leaf for leaf in plain) else found
    if func._schema.returns and func._schema.returns[0].alias_info is not None:
        if func._schema.returns[0].alias_info.is_write:
            return kwargs["out"] if "out" in kwargs else args[0]
    known = {id(leaf.values_): leaf for leaf in own}

    def outer(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return (
            known[id(leaf)]
            if id(leaf) in known and not view and name != "_to_copy"
            else OnDevice(leaf, index)
        )

    # In inference mode a view of an ordinary tensor is an ordinary one.
    inference = torch.is_inference_mode_enabled() and not (view and not own[0].is_inference())
    with torch.inference_mode(inference):
        return tree_map(outer, found)


def _refuse_mixed(name: str, args: Any, others: list[Tensor]) -> None:
    if name in _INDEXED:
        others = [one for one in others if not any(one is index for index in args[1])]
    wrong = [one for one in others if one.ndim or name in _UNPADDED]
    if wrong:
        shapes = [tuple(one.shape) for one in wrong]
        _fail(
            MixedDevices(f"{name}: all tensors must be on one device, found on the CPU {shapes}; {_line()}")
        )


def _count_waits(name: str, args: Any, kwargs: Any, wanted: torch.device | None) -> None:
    if name in _WAITS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
        _wait(name)
    if name in _INDEXED:
        for index in args[1]:
            if not isinstance(index, Tensor):
                continue
            if not isinstance(index, OnDevice):
                _wait("index of the host")
            if index.dtype in (torch.bool, torch.uint8):
                _wait("boolean index")
    if name == "copy_":
        target, source = args[:2]
        if isinstance(source, OnDevice) != isinstance(target, OnDevice):
            _count_transfer(source, (len(args) > 2 and args[2]) or kwargs.get("non_blocking", False))
    if name == "_to_copy" and wanted is not None:
        if isinstance(args[0], OnDevice) != (wanted.type == NAME):
            _count_transfer(args[0], kwargs.get("non_blocking", False))


def _count_transfer(source: Tensor, non_blocking: bool) -> None:
    way = "to host" if isinstance(source, OnDevice) else "to device"
    COUNTS.bytes[way] += source.nbytes
    if not (non_blocking and way == "to device" and source.untyped_storage().data_ptr() in _pinned):
        _wait(way)


def _rounded(name: str, args: Any) -> Any:
    """The arguments with the 10 bits that TF32 keeps, where torch's settings allow it."""
    if name in _PRODUCTS:
        short = _setting(lambda: torch.backends.cuda.matmul.allow_tf32, "matmul")
    elif name in _CONVOLUTIONS:
        short = torch.backends.cudnn.enabled and _setting(lambda: torch.backends.cudnn.allow_tf32, "conv")
    else:
        return args
    if not short:
        return args

    def to_tf32(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.dtype is not torch.float32:
            return leaf
        return ((leaf.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    return tree_map(to_tf32, args)


def _setting(old: Callable[[], bool], name: str) -> bool:
    """A setting by torch's older interface, or by the newer one where both were used."""
    try:
        return old()
    except RuntimeError:
        where = torch.backends.cuda.matmul if name == "matmul" else torch.backends.cudnn.conv
        return bool(where.fp32_precision == "tf32")


class _Mode(TorchDispatchMode):
    """Sees what is made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class _Backend:
    """``torch.standin``."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return _active[0]

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return 2 if _active[0] else 0

    def current_device(self) -> int:
        return _current[0]

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, _current[0] = _current[0], torch.device(device).index or 0
        try:
            yield
        finally:
            _current[0] = before

    def get_device_name(self, device: Any = None) -> str:
        return "stand-in"

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def manual_seed(self, seed: int) -> None:
        SEEDED.append(_current[0])

    def manual_seed_all(self, seed: int) -> None:
        SEEDED.extend((0, 1))

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.zeros(1, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return FREE[0], 2 * FREE[0]

    def empty_cache(self) -> None:
        EMPTIED[0] += 1

    def synchronize(self, device: Any = None) -> None:
        COUNTS.waits["synchronize", _line()] += 1


SEEDED: list[int] = []
"""Devices whose generator was seeded."""
EMPTIED = [0]
"""How often the cache was emptied."""
_active = [False]
_current = [0]
_ready: list[Any] = []


def register() -> None:
    """Make the device known to torch; before the first backward pass of the process, and once.

    torch below 2.10 has no devices that are written in Python.
    """
    setup = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if _ready or setup is None:
        return
    setup(NAME, _Backend())
    anything = torch.library.Library("_", "IMPL")
    anything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    library = torch.library.Library("aten", "IMPL")
    for name in _CAST:
        base, _, overload = name.partition(".")
        cast = functools.partial(_autocast, getattr(getattr(_aten, base), overload or "default"))
        library.impl(name, cast, "AutocastPrivateUse1")
    _ready.extend((anything, library))


def _autocast(func: Any, *args: Any, **kwargs: Any) -> Any:
    def narrowed(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.dtype is torch.float32:
            return leaf.to(torch.get_autocast_dtype(NAME))
        return leaf

    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
    with torch._C._ExcludeDispatchKeyGuard(key):
        return func(*tree_map(narrowed, args), **tree_map(narrowed, kwargs))


@contextmanager
def stand_in() -> Iterator[torch.device]:
    """A context in which the device is there, its counts at zero."""
    if not _ready:
        pytest.skip("this torch has no devices that are written in Python")
    patch = pytest.MonkeyPatch()
    patch.setattr(Tensor, "pin_memory", _pin)
    for name in ("tensor", "as_tensor"):
        patch.setattr(torch, name, functools.partial(_made, getattr(torch, name)))
    patch.setattr(torch._VF, "lstm", functools.partial(_noting, torch._VF.lstm), raising=False)
    for name in ("grad", "backward"):
        patch.setattr(torch.autograd, name, functools.partial(_propagated, getattr(torch.autograd, name)))
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    _active[0] = True
    COUNTS.reset()
    CAPACITY[0], EMPTIED[0] = 1 << 40, 0
    try:
        # An error in a backward thread of a device that is written in Python would end the process.
        with torch.autograd.set_multithreading_enabled(False), _Mode():
            yield torch.device(NAME, 0)
            _raise_waiting()
    finally:
        _active[0] = False
        torch.__future__.set_swap_module_params_on_conversion(swapping)
        patch.undo()
        _pinned.clear()


def _pin(tensor: Tensor, *device: Any) -> Tensor:
    copied = tensor.clone()
    _pinned.add(copied.untyped_storage().data_ptr())
    return copied


def _propagated(backward: Any, *args: Any, **kwargs: Any) -> Any:
    found = backward(*args, **kwargs)
    _raise_waiting()
    return found


def _made(make: Any, data: Any, *, dtype: Any = None, device: Any = None, **more: Any) -> Tensor:
    found: Tensor = make(data, dtype=dtype, **more)
    return found if device is None or torch.device(device).type != NAME else found.to(device)


def _noting(recurrent: Any, *args: Any) -> Any:
    """Call a recurrent network, and note whether it is in training mode."""
    _training[0] = [one for one in args if isinstance(one, bool)][1]
    return recurrent(*args)


def _lstm_cell(inputs: Tensor, hidden: Tensor, cx: Tensor, bias: Any = None, bias_hidden: Any = None) -> Any:
    gates = inputs + hidden + (0 if bias is None else bias + bias_hidden)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], 1)


def _lstm_cell_backward(
    grad_hy: Any, grad_cy: Any, cx: Tensor, cy: Tensor, workspace: Tensor, has_bias: bool
) -> Any:
    i, f, g, o = workspace.chunk(4, 1)
    hy = torch.zeros_like(cy) if grad_hy is None else grad_hy
    total = hy * o * (1 - cy.tanh().square()) + (0 if grad_cy is None else grad_cy)
    of_output = hy * cy.tanh() * o * (1 - o)
    gates = torch.cat(
        [total * g * i * (1 - i), total * cx * f * (1 - f), total * i * (1 - g * g), of_output], 1
    )
    return gates, total * f, gates.sum(0)


_CELLS = {
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}
"""What the CPU does not have."""


def _cell(name: str, *args: Any) -> Any:
    """A step of a recurrent network; cuDNN's has no backward pass outside of training mode."""
    found = _CELLS[name](*args)
    if "backward" not in name:
        if torch.backends.cudnn.enabled and not _training[0]:
            _by_cudnn[found[-1]] = True
    elif any(one in _by_cudnn for one in args if isinstance(one, Tensor)):
        _fail(RuntimeError("cudnn RNN backward can only be called in training mode"))
    return found
