"""Gradient batches that wait on a GPU until several can be scored together.

In: the batches of one read after the other. Out: batches of many samples. To score a batch and to collect its
results takes a fixed number of operations, each of which takes as long as starting it where samples are few.
"""

import torch

from ogacli.base.device import total_bytes
from ogacli.gradients import GradientBatch
from ogacli.gradients.joining import joinable, joined

_READS = 16
"""Of so many reads the samples wait."""
_PART = 256
"""What all that wait may hold, but for those of one read, as a part of the memory of the device."""


class Waiting:
    """Batches that wait; none do on the CPU.

    Args:
        device: Of the gradients.
    """

    def __init__(self, device: torch.device) -> None:
        self._most = 0 if device.type == "cpu" else total_bytes(device) // _PART
        self._batches: list[GradientBatch] = []
        self._reads = 0

    def add(self, batch: GradientBatch) -> bool:
        """Let a batch wait; False where it has to be scored by itself."""
        if batch.nbytes > self._most or not joinable(batch):
            return False
        self._batches.append(batch)
        return True

    def full(self) -> bool:
        """Whether those that wait should be scored; called after each read."""
        self._reads += 1
        held = sum(one.nbytes for one in self._batches)
        return not self._batches or self._reads >= _READS or held >= self._most

    def take(self) -> GradientBatch | None:
        """All that wait, as one batch; None where none does."""
        batches, self._batches, self._reads = self._batches, [], 0
        return joined(batches) if batches else None
