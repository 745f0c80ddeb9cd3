"""torch's global random state, seeded for a block and restored after it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for a block; on a GPU, cuDNN is deterministic meanwhile.

    The global random state and cuDNN's settings are restored after the block.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(torch.random.fork_rng(devices=[device]))
            stack.enter_context(deterministic_cudnn())
        else:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        yield


def deterministic_cudnn() -> AbstractContextManager[None]:
    """cuDNN, enabled and deterministic for a block."""
    cudnn = torch.backends.cudnn
    # Of what is left out here, ``flags`` takes its own defaults: without ``enabled`` it turns cuDNN off.
    return cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=cudnn.allow_tf32)
