"""Blocks of per-sample gradients: how large they are, and the buffers that they are formed in.

Per-sample gradients are formed a block at a time and reduced. On the CPU blocks fit in its cache and their
buffers are reused: a large new buffer would take longer than the arithmetic, because of its page faults. On
other devices each operation has a fixed cost, so that a block is as large as memory allows, which mostly is
all of a layer.
"""

import math
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ogacli.base.device import total_bytes

BLOCK = 1 << 20
"""Numbers in a block on the CPU: 4 MB."""
_SHARE = 16
"""On other devices a block of float32 takes at most this part of the memory."""
_WRITTEN, _WRITTEN_ELSEWHERE = 12, 50
"""As many multiplications take as long as writing one gradient entry and adding it to a sum; measured on the
CPU, and from the data sheets of GPUs elsewhere."""

T = TypeVar("T")
_local = threading.local()
_planned: WeakIdKeyDictionary = WeakIdKeyDictionary()


def borrowed(name: str, shape: Sequence[int], like: Tensor) -> Shaped[Tensor, "..."]:
    """A buffer of undefined contents, valid until the same thread borrows that name again."""
    if like.device.type != "cpu":  # torch keeps freed memory of other devices itself
        return like.new_empty(tuple(shape))
    buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = _local.__dict__.setdefault("buffers", {})
    key = (name, like.dtype, like.device)
    size = math.prod(shape)
    if key not in buffers or buffers[key].numel() < size:
        with torch.inference_mode(False):
            buffers[key] = torch.empty(max(size, BLOCK), dtype=like.dtype, device=like.device)
    return buffers[key][:size].view(tuple(shape))


def picked(values: Shaped[Tensor, "... w"], index: Int64[Tensor, " f"], name: str) -> Shaped[Tensor, "... f"]:
    """Some columns of the last dimension, in a borrowed buffer.

    On the CPU ``gather`` is three times as fast as ``index_select`` for more than two dimensions.
    """
    if values.device.type != "cpu":
        return values.index_select(-1, index)
    shape = (*values.shape[:-1], len(index))
    return torch.gather(values, -1, index.expand(shape), out=borrowed(name, shape, values))


def at_a_time(each: int, device: torch.device) -> int:
    """How many items of ``each`` numbers fit in a block; at least one."""
    block = BLOCK if device.type == "cpu" else max(BLOCK, total_bytes(device) // (4 * _SHARE))
    return max(1, block // max(1, each))


def written(device: torch.device) -> int:
    """As many multiplications take as long as writing one gradient entry and adding it to a sum."""
    return _WRITTEN if device.type == "cpu" else _WRITTEN_ELSEWHERE


def planned(coords: Int64[Tensor, " f"], key: object, make: Callable[[], T]) -> T:
    """What ``make`` derives from coordinates, made once for as long as the coordinates are in memory.

    Args:
        coords: Not changed afterwards.
        key: Of what is derived, and of the shapes that it depends on.
        make: Derives it.
    """
    known = _planned.get(coords)
    if known is None:
        _planned[coords] = known = {}
    if key not in known:
        known[key] = make()
    found: T = known[key]
    return found
