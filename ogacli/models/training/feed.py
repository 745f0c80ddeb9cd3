"""Samples in batches, epoch after epoch.

In: samples and a device. Out: batches of any rows on that device. Inputs that are tensors of one shape and
fit in memory are read and decoded once; all others anew in each epoch.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ogacli.base.progress import Progress
from ogacli.data import Batch, Samples
from ogacli.data.loader import batches
from ogacli.errors import DataError

HELD_BYTES = 1 << 30
"""Decoded inputs that may be held in memory from one epoch to the next."""
_READ = 512
"""Samples that are read at a time to be held."""


class Feed:
    """Samples in batches, epoch after epoch; decoded only once where they fit in memory."""

    def __init__(
        self, samples: Samples, device: torch.device, workers: int | Literal["auto"], progress: Progress
    ) -> None:
        self.samples = samples
        self.device = device
        self.workers = workers
        self.skipped: dict[int, str] = {}
        self._inputs = self._hold(progress)
        self._labels = samples.labels.to(device)
        readable = torch.ones(len(samples), dtype=torch.bool)
        readable[list(self.skipped)] = False
        self.rows = readable.nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, order: Int64[Tensor, " n"], batch_size: int) -> Iterator[Batch]:
        """The readable samples of these rows, on the device."""
        if self._inputs is None:
            yield from self._stream(order, batch_size)
            return
        for rows in torch.split(order, batch_size):
            here = rows.to(self.device)
            yield Batch(rows, self._inputs[here], self._labels[here], {})

    def _stream(self, order: Int64[Tensor, " n"], batch_size: int) -> Iterator[Batch]:
        pin = self.device.type == "cuda"
        for batch in batches(self.samples, order, batch_size, workers=self.workers, pin=pin):
            self.skipped.update(batch.quarantined)
            if len(batch.rows):
                yield batch.to(self.device)

    def _hold(self, progress: Progress) -> Shaped[Tensor, "n ..."] | None:
        """All inputs, where they are tensors of one shape and fit; None otherwise."""
        n = len(self.samples)
        held: Tensor | None = None
        with progress.bar("reading", n) as advance:
            for batch in batches(self.samples, torch.arange(n), _READ, workers=self.workers):
                self.skipped.update(batch.quarantined)
                advance(len(batch.rows) + len(batch.quarantined))
                if not len(batch.rows):
                    continue
                if held is None:
                    if not isinstance(batch.inputs, Tensor) or batch.inputs[0].nbytes * n > HELD_BYTES:
                        self.skipped.clear()
                        return None
                    held = batch.inputs.new_empty(n, *batch.inputs.shape[1:], device=self.device)
                held[batch.rows] = batch.inputs.to(self.device)
        if held is None:
            reason = next(iter(self.skipped.values()), "no inputs")
            raise DataError("none of the samples can be read", found=reason)
        return held
