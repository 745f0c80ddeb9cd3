"""Batches of gradients from a dataset: read, moved to the device, captured.

In: rows of the samples. Out: their ``GradientBatch``es, in order. A batch that does not fit in memory is
halved, and so are those after it; nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.data import Batch, Samples
from ogacli.data.loader import batches
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch, GradientOptions, HeadGradients, Neighbours, capture
from ogacli.models import Model, Network
from ogacli.scan.collect import Collector
from ogacli.scan.witness import Witness

if TYPE_CHECKING:
    from ogacli.config import Config

_WIDEST_BYTES = 6 << 20
"""The largest tensor of a forward pass where its batch size is left to us: what caches of a core hold. A
ResNet-18 is a quarter quicker by that than in batches of ten times the size."""
_INPUT_BYTES = 4 << 20
"""Inputs of a batch of all layers' gradients, likewise; and of the head's gradients that are one batch after
several passes through the network, as a detector takes its time for each batch."""
_FACTOR_BYTES = 96 << 20
"""Gradient factors of such a batch."""
_GPU, _GPU_WIDEST = 16, 64
"""How many times as much that is on a GPU."""
_FEWEST, _MOST = 4, 2048
_PROBE = 4
"""Samples whose gradients are captured to see how much memory one takes."""


class GradientFeed:
    """Computes the gradients of a model on a dataset.

    Args:
        config: For the loss, the gradients and how to read.
        samples: Where the rows are.
        model: On the device.
        device: Where to compute.
        options: The config's own ``gradients`` where left out.
        neighbours: Whose answers stand for the model's own.
    """

    def __init__(
        self,
        config: Config,
        samples: Samples,
        model: Model,
        device: torch.device,
        options: GradientOptions | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self.samples = samples
        self.model = model
        self.device = device
        self.workers = config.data.workers
        self.options = options or config.gradients
        self.gradients = capture(model, config.loss.loss(), self.options, neighbours)
        self._size: int | None = None if self.options.batch_size == "auto" else self.options.batch_size
        self._pieces = 1
        """Passes through the network whose gradients become one batch."""
        self.witness: Witness | None = None
        """Told what goes by."""
        self._probed: int | None = None
        """Bytes of a sample's inputs by which the size was chosen; longer texts come fewer at a time."""
        self.halved = 0
        """How often a batch did not fit in memory."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the capture and the reader of the samples have to say."""
        return tuple(
            note for one in (self.gradients, self.samples.reader) for note in getattr(one, "notes", ())
        )

    def __call__(self, rows: Int64[Tensor, " m"], collector: Collector) -> Iterator[GradientBatch]:
        """The gradients of these rows, in their order; unreadable ones are noted in the collector."""
        for batch in self.read(rows):
            if batch.quarantined:
                collector.quarantine(batch.quarantined)
            if len(batch.rows):
                for found in self._captured(batch):
                    if self.witness is not None:
                        self.witness.see(batch, found)
                    yield found
                    del found

    def read(self, rows: Int64[Tensor, " m"]) -> Iterator[Batch]:
        """The rows, read and on the device."""
        size = self.batch_size() * self._pieces
        if self.model.reads_inputs:
            pin = self.device.type == "cuda"
            for batch in batches(self.samples, rows, size, workers=self.workers, pin=pin):
                yield batch.to(self.device)
        else:
            for chunk in rows.split(size):
                yield Batch(chunk, None, self.samples.labels[chunk].to(self.device), {})

    def batch_size(self) -> int:
        """As configured; otherwise so many that inputs and gradient factors take some megabytes.

        It is told by the data and the model alone and never by the clock, so that reruns are bit-equal.
        """
        if self._size is None:
            self._size = self._chosen_size()
        return self._size

    def _chosen_size(self) -> int:
        if not self.model.reads_inputs:
            return 2 * _MOST
        probe = _readable(self.samples)
        if probe is None:
            return _PROBE
        gpu = self.device.type == "cuda"
        more = _GPU if gpu else 1
        own = self._probed = max(1, probe.nbytes // len(probe.rows))
        inputs = more * _INPUT_BYTES // own
        if self.options.layers != "head":
            taken = self.gradients(probe.to(self.device)).nbytes // len(probe.rows)
            return max(1, min(_MOST, inputs, more * _FACTOR_BYTES // max(1, taken)))
        widest = own
        if isinstance(self.model, Network):
            widest = max(own, self.model.widest(probe.to(self.device)))
        size = max(_FEWEST, min(_MOST, (_GPU_WIDEST if gpu else 1) * _WIDEST_BYTES // widest))
        if isinstance(self.gradients, HeadGradients) and isinstance(probe.inputs, torch.Tensor):
            self.gradients.piece = size  # texts are padded to the longest that is read with them
            self._pieces = max(1, min(_MOST, inputs) // size)
        return size

    def _captured(self, batch: Batch) -> Iterator[GradientBatch]:
        size = self.batch_size() * self._pieces
        if self._probed is not None:
            size = max(1, size * self._probed // max(self._probed, batch.nbytes // len(batch.rows)))
        for part in batch.split(size):
            try:
                found = self.gradients(part)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                found = None
            if found is not None:
                yield found
                found = None  # its memory is for the next one
            else:
                self.halve(len(part.rows))
                yield from self._captured(part)

    def halve(self, size: int) -> None:
        """From now on at most half of ``size`` samples at a time, which did not fit in memory.

        Raises:
            GradientError: It was one sample only.
        """
        if size == 1:
            raise GradientError(
                "the gradient of a single sample does not fit in memory",
                place=str(self.device),
                hint="select fewer layers, or use a device with more memory",
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._size, self._pieces = min(self.batch_size(), size // 2), 1
        self.halved += 1


def _readable(samples: Samples) -> Batch | None:
    """The first few samples that can be read, where some come early."""
    for start in range(0, min(128, len(samples)), _PROBE):
        probe = samples.read(range(start, min(start + _PROBE, len(samples))))
        if len(probe.rows):
            return probe
    return None


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory; on the CPU it says so by words only."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
