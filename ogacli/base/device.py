"""Where torch computes: the device of a name, its memory, and copies to it that do not wait.

``cpu``, ``cuda`` and the other devices that torch knows are told apart by ``device.type`` alone; what they
have in common is asked of ``torch.get_device_module``.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from traceback import clear_frames
from typing import Any, TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from ogacli.errors import ConfigError

T = TypeVar("T")
MPS = "norms are summed in float64, which MPS does not have"
"""Why ``mps`` is refused."""
_FEW = 1 << 15
"""An operation on so many numbers takes the CPU about as long as a GPU takes to start one."""


def device_of(name: str) -> torch.device:
    """The torch device of a name in the config, with its index; ``auto`` is a GPU where there is one.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            "no such device", place="gradients.device", found=repr(name), expected="auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "mps":
        raise ConfigError(MPS, place="gradients.device", found="'mps'", hint="use cpu")
    if device.type == "cpu":
        return torch.device("cpu")
    backend = _backend(device)
    count = backend.device_count() if backend is not None and backend.is_available() else 0
    if device.type == "meta" or (device.index or 0) >= count:
        raise ConfigError(
            "no such device on this machine",
            place="gradients.device",
            found=repr(name),
            expected=", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]),
        )
    return torch.device(device.type, backend.current_device() if device.index is None else device.index)


def device_name(device: torch.device) -> str:
    """``cpu``, or the model name of the GPU."""
    name = getattr(_backend(device), "get_device_name", None)
    return device.type if device.type == "cpu" or name is None else str(name(device))


def current(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which the device is torch's current one of its type.

    Without it ``cuda:1`` would take some memory of ``cuda:0`` as well.
    """
    guard = None if device.type == "cpu" else getattr(_backend(device), "device", None)
    return nullcontext() if guard is None else guard(device)


def wait(device: torch.device) -> None:
    """Wait until the device has done all work that it was given."""
    if device.type != "cpu" and (backend := _backend(device)) is not None:
        backend.synchronize(device)


def free_cache(device: torch.device) -> None:
    """Give memory back to the device that torch holds for later tensors."""
    if device.type != "cpu" and (backend := _backend(device)) is not None:
        backend.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Memory of a device that torch can still take, in bytes; not for the CPU."""
    backend = _backend(device)
    free = int(backend.mem_get_info(device)[0])
    held = getattr(backend, "memory_reserved", None)
    return free + (0 if held is None else held(device) - backend.memory_allocated(device))


@cache
def total_bytes(device: torch.device) -> int:
    """All memory of a device, in bytes; not for the CPU."""
    return int(_backend(device).mem_get_info(device)[1])


def sent(tensor: Shaped[Tensor, "..."], device: torch.device) -> Shaped[Tensor, "..."]:
    """A copy of a tensor of the CPU on a device; the call returns before the copy is made."""
    if device.type == "cpu" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def place_to_iterate(numbers: Shaped[Tensor, "..."]) -> torch.device:
    """Where to fit to these numbers in many small steps: their device, or the CPU where they are few."""
    return torch.device("cpu") if numbers.numel() <= _FEW else numbers.device


def out_of_memory(error: Exception) -> bool:
    """Whether torch ran out of memory; libraries and the CPU tell it in the message alone."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)


def where_it_fits(compute: Callable[[], T]) -> T | None:
    """What ``compute`` returns; None where memory runs out, and nothing of the attempt stays in memory."""
    try:
        return compute()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        clear_frames(error.__traceback__)  # their variables
    gc.collect()
    return None


_FULL = (
    "can't allocate memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
    "Unable to find a valid cuDNN algorithm",
    "unable to find an engine to execute this computation",
)
"""cuBLAS allocates its workspace when it is initialised, and cuDNN finds no algorithm where none has room."""


def _backend(device: torch.device) -> Any:
    """The module of torch for a type of device, such as ``torch.cuda``; None where there is none."""
    try:
        return torch.get_device_module(device.type)
    except RuntimeError:
        return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Restrict torch operations of this thread to one core within the block.

    Many small operations are slightly faster on several cores of an idle machine. They are ten times slower
    where other processes need the cores, or a container may use fewer cores than it reports.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
