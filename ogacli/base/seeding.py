"""torch's global random state, seeded for a block and restored after it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for a block; on a GPU, cuDNN is deterministic meanwhile.

    The global random state and cuDNN's settings are restored after the block.
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        with deterministic_cudnn() if cuda else nullcontext():
            torch.manual_seed(seed)
            yield


def deterministic_cudnn() -> AbstractContextManager[None]:
    """cuDNN, enabled and deterministic for a block."""
    cudnn = torch.backends.cudnn
    # Arguments left out take the defaults of ``flags``, not the current settings; ``enabled`` is False there.
    return cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=cudnn.allow_tf32)
