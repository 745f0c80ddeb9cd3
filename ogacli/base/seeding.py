"""Seeded choices: torch's global random state for a block, rows in random order, numbers as random."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.device import current
from ogacli.base.precision import deterministic

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)))
_PERMUTED = 1 << 20
"""Up to so many rows a random order is that of all rows: 8 MB."""


def shuffled(n: int, seed: int, count: int) -> Int64[Tensor, " m"]:
    """The rows 0 to n - 1 in random order; of very many rows only the first ``count``, or some more.

    Args:
        n: The number of rows.
        seed: Of the order.
        count: How many are needed.
    """
    generator = torch.Generator().manual_seed(seed)
    if n <= _PERMUTED or 4 * count > n:
        return torch.randperm(n, generator=generator)
    drawn = torch.randint(n, (2 * count,), generator=generator).numpy()
    first = np.sort(np.unique(drawn, return_index=True)[1])
    return torch.from_numpy(drawn[first])


def mixed(numbers: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Numbers as random as a permutation, each by itself (splitmix64; Steele, Lea and Flood, OOPSLA 2014)."""
    found = numbers * _STEP
    for shift, factor in _ROUNDS:
        found = (found ^ (found >> shift & (1 << 64 - shift) - 1)) * factor
    return found ^ (found >> 31 & (1 << 33) - 1)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of CPU and device for a block; on a GPU, cuDNN is deterministic meanwhile.

    The global random state and cuDNN's settings are restored after the block. Generators of other devices are
    left alone, which ``torch.manual_seed`` would seed as well.
    """
    kind, own = ("cuda", []) if device.type == "cpu" else (device.type, [device])
    with torch.random.fork_rng(devices=own, device_type=kind), deterministic(), current(device):
        torch.default_generator.manual_seed(seed)
        if own:
            torch.get_device_module(device).manual_seed(seed)  # of the current device
        yield
