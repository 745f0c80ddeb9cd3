"""Seeded choices: torch's global random state for a block, and rows in random order."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.precision import deterministic

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


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for a block; on a GPU, cuDNN is deterministic meanwhile.

    The global random state and cuDNN's settings are restored after the block.
    """
    kind, own = ("cuda", []) if device.type == "cpu" else (device.type, [device])
    with torch.random.fork_rng(devices=own, device_type=kind), deterministic():
        torch.manual_seed(seed)
        yield
