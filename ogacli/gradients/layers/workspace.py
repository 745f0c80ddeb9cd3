"""Buffers that are used again and again.

A per-sample gradient is formed a block at a time, reduced, and overwritten by the next one. A fresh large
buffer for each would cost more than the arithmetic, as the system hands its pages out one by one.
"""

import threading
from collections.abc import Sequence

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

BLOCK = 1 << 20
"""Numbers that a block should hold: 4 MB, so that it stays in the processor's cache."""

_local = threading.local()


def borrowed(name: str, shape: Sequence[int], like: Tensor) -> Shaped[Tensor, "..."]:
    """A buffer of undefined contents, the caller's until the same thread borrows that name again."""
    buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = _local.__dict__.setdefault("buffers", {})
    key = (name, like.dtype, like.device)
    size = 1
    for length in shape:
        size *= length
    if key not in buffers or buffers[key].numel() < size:
        with torch.inference_mode(False):
            buffers[key] = torch.empty(max(size, BLOCK), dtype=like.dtype, device=like.device)
    return buffers[key][:size].view(tuple(shape))


def picked(values: Shaped[Tensor, "... w"], index: Int64[Tensor, " f"], name: str) -> Shaped[Tensor, "... f"]:
    """Some columns of the last dimension, in a borrowed buffer.

    By ``gather``, which is three times as fast as the ``index_select`` of more than two dimensions.
    """
    shape = (*values.shape[:-1], len(index))
    return torch.gather(values, -1, index.expand(shape), out=borrowed(name, shape, values))


def at_a_time(each: int) -> int:
    """How many things of ``each`` numbers fit in a block; at least one."""
    return max(1, BLOCK // max(1, each))
