"""One step of a training whose samples several ranks share.

In: the gradients of the sum of the losses of a rank's samples. Out: in every rank, those of the mean over the
samples of all ranks, as DistributedDataParallel would leave them.
"""

from collections.abc import Iterable

import torch
from torch import nn

from ogacli.base.processes.ranks import Ranks


def share_gradients(parameters: Iterable[nn.Parameter], samples: int, ranks: Ranks) -> int:
    """Replace the gradients of this rank by those of the mean over the samples of all ranks.

    They are exchanged after the backward pass, on the CPU, in one message. DistributedDataParallel, which
    sends them during it, would wait for a rank that has died.

    Args:
        parameters: All that are trained; those without a gradient on every rank are left without.
        samples: The number of samples of this rank in this step; it may have none.
        ranks: All take part in each step.

    Returns:
        The number of samples of all ranks.
    """
    own = list(parameters)
    # One tensor of the widest type among them, at least float32.
    counts = torch.tensor([samples, *(one.grad is not None for one in own)], dtype=torch.float32)
    gradients = [(torch.zeros_like(one) if one.grad is None else one.grad).flatten().cpu() for one in own]
    counts, *sums = ranks.added(torch.cat([counts, *gradients])).split(
        [len(counts), *(one.numel() for one in own)]
    )
    total, *present = counts.tolist()
    for one, kept, summed in zip(own, present, sums, strict=True):
        mean = (summed / max(1.0, total)).view(one.shape)
        one.grad = mean.to(one.device, one.dtype) if kept else None
    return int(total)
