"""The batches of each epoch of a training.

In: samples and a device. Out: batches on that device, of all readable samples in a random order. Inputs that
are tensors of one shape and fit in memory are read and decoded once; all others in each epoch. Of several
ranks each has its part of every batch.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ogacli.base.processes.ranks import Ranks
from ogacli.base.progress import Progress
from ogacli.data import Batch, Samples
from ogacli.data.labels.label_types import PixelClasses
from ogacli.data.loader import batches
from ogacli.errors import DataError

HELD_BYTES = 1 << 30
"""Bytes of decoded inputs that may be kept in memory between epochs."""
_READ = 512
"""Samples that are read at a time where inputs are kept."""
_NEAR = 50
"""Batches whose samples are sorted by length among themselves."""


class Epochs:
    """The samples of a training, in random batches.

    Args:
        samples: All samples; those that cannot be read are left out and noted in ``skipped``.
        batch_size: Samples a batch, of all ranks; the last one of an epoch may be smaller.
        device: The device of the batches.
        group_by_length: Whether the samples of a batch have similar lengths, where lengths are known.
        workers: Processes that read and decode.
        ranks: The processes that share each batch.
        progress: Shows how many samples have been read into memory.

    Raises:
        DataError: None of the samples can be read.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        device: torch.device,
        *,
        group_by_length: bool,
        workers: int | Literal["auto"],
        ranks: Ranks,
        progress: Progress,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.device = device
        self.group_by_length = group_by_length
        self.workers = workers
        self.ranks = ranks
        self.skipped: dict[int, str] = {}
        """``{row: reason}`` of the samples that could not be read so far."""
        self._inputs = self._hold(progress)
        self._labels = samples.labels.to(device)
        readable = torch.ones(len(samples), dtype=torch.bool)
        readable[list(self.skipped)] = False
        self.rows = readable.nonzero()[:, 0]
        """The rows of the samples that can be read, as far as that is known before an epoch."""

    @property
    def size(self) -> int:
        """Samples an epoch."""
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-self.size // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[Batch | None]:
        """The batches of one epoch, in random order, as many on each rank.

        None stands for one of which this rank has no sample, or could read none.
        """
        order = self._order(generator)
        parts = [
            part.tensor_split(self.ranks.count)[self.ranks.rank] for part in order.split(self.batch_size)
        ]
        if self._inputs is None:
            yield from self._read(parts)
            return
        for rows in parts:
            here = rows.to(self.device)
            yield Batch(rows, self._inputs[here], self._labels[here], {}) if len(rows) else None

    def _order(self, generator: torch.Generator) -> Int64[Tensor, " n"]:
        """The rows in random order; with ``group_by_length`` in random batches of similar lengths."""
        order = self.rows[torch.randperm(self.size, generator=generator)]
        size = self.batch_size
        lengths = self.samples.lengths(order) if self.group_by_length else None
        if lengths is None:
            return order
        whole = len(order) // size * size  # the rest is a last, smaller batch
        near = [
            part[own.argsort(stable=True)]
            for part, own in zip(
                order[:whole].split(_NEAR * size), lengths[:whole].split(_NEAR * size), strict=True
            )
        ]
        grouped = torch.cat([*near, order[:0]]).view(-1, size)
        mixed = grouped[torch.randperm(len(grouped), generator=generator)]
        return torch.cat([mixed.flatten(), order[whole:]])

    def _read(self, parts: Sequence[Int64[Tensor, " b"]]) -> Iterator[Batch | None]:
        """The batches of these rows; all but the last have one size."""
        pin = self.device.type != "cpu"
        own, size = torch.cat([*parts]), max(1, len(parts[0]))
        read = batches(self.samples, own, size, workers=self.workers, pin=pin) if len(own) else iter(())
        for _ in parts:
            batch = next(read, None)
            if batch is not None:
                self.skipped.update(batch.quarantined)
            yield batch.to(self.device) if batch is not None and len(batch.rows) else None

    def _hold(self, progress: Progress) -> Shaped[Tensor, "n ..."] | None:
        """All inputs, where they are tensors of one shape and fit in memory; None otherwise."""
        if isinstance(self.samples.label_type, PixelClasses):
            return None  # masks are read with the inputs
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
