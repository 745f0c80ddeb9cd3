"""Buffers that are reused.

Per-sample gradients are formed a block at a time, reduced, and overwritten by the next block. Allocating a
large buffer for each block would take longer than the arithmetic, because of its page faults.
"""

import math
import threading
from collections.abc import Sequence

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

BLOCK = 1 << 20
"""Numbers in a block: 4 MB, which fit in the processor's cache."""

_local = threading.local()


def borrowed(name: str, shape: Sequence[int], like: Tensor) -> Shaped[Tensor, "..."]:
    """A buffer of undefined contents, valid until the same thread borrows that name again."""
    buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = _local.__dict__.setdefault("buffers", {})
    key = (name, like.dtype, like.device)
    size = math.prod(shape)
    if key not in buffers or buffers[key].numel() < size:
        with torch.inference_mode(False):
            buffers[key] = torch.empty(max(size, BLOCK), dtype=like.dtype, device=like.device)
    return buffers[key][:size].view(tuple(shape))


def picked(values: Shaped[Tensor, "... w"], index: Int64[Tensor, " f"], name: str) -> Shaped[Tensor, "... f"]:
    """Some columns of the last dimension, in a borrowed buffer.

    ``gather`` is three times as fast as ``index_select`` for more than two dimensions.
    """
    shape = (*values.shape[:-1], len(index))
    return torch.gather(values, -1, index.expand(shape), out=borrowed(name, shape, values))


def at_a_time(each: int) -> int:
    """How many items of ``each`` numbers fit in a block; at least one."""
    return max(1, BLOCK // max(1, each))
