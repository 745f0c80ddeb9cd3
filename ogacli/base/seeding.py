"""torch's global random state, seeded for a block and restored after it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """While it is open, torch's global generators start from ``seed``; afterwards they are as before."""
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(torch.random.fork_rng(devices=[device]))
            stack.enter_context(torch.backends.cudnn.flags(deterministic=True, benchmark=False))
        else:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        yield
