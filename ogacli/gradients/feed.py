"""Gradients of a dataset: read a batch, move it to the device, compute its gradients.

In: rows of the samples. Out: for each batch a ``Step``: the batch, with the samples that could not be read,
and its ``GradientBatch``. Where a batch does not fit in memory, it and all later ones are halved.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from ogacli.base.device import device_of, free_bytes, free_cache, total_bytes, where_it_fits
from ogacli.base.precision import Precision
from ogacli.base.registry import resolve
from ogacli.data import Batch, Samples
from ogacli.data.loader import batches
from ogacli.data.samples import check_samples
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch, GradientOptions, HeadGradients, Neighbours, capture
from ogacli.models import Model, Network
from ogacli.models.sources import ModelSource
from ogacli.models.sources.in_memory import source_of
from ogacli.models.tasks import Task, tasks

NOT_FINITE = "non-finite gradient"
"""The reason why a sample that could be read has no score."""

_WIDEST_BYTES = 6 << 20
"""Head gradients: the largest activation of a forward pass at the automatic batch size, so that it fits in
the caches of a core. A ResNet-18 takes a quarter less time than with batches of ten times the size."""
_INPUT_BYTES = 4 << 20
"""Inputs of a batch at the automatic batch size. Head gradients of several forward passes are joined to such
a batch, because detectors need a fixed time for each batch."""
_FACTOR_BYTES = 96 << 20
"""Gradients of all layers: factors of a batch at the automatic batch size."""
_LOOKED_UP_BYTES = 32 << 20
"""Logits, residuals and features of a batch where they are looked up instead of computed."""
_PART = 4
"""On a GPU a batch takes at most this part of the memory."""
_ACTIVATIONS, _FACTORS = 8, 4
"""What a sample takes there, as a multiple of its largest activation, or of the factors of its gradients."""
_FEWEST, _MOST, _MOST_LOOKED_UP = 4, 2048, 1 << 14
"""Limits of the automatic batch size."""
_LEAST = -1e30
"""In place of lower logits where a sum shows whether any is not finite."""
_PROBE = 4
"""Number of samples whose gradients are computed to measure the memory of one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch and its gradients."""

    batch: Batch
    """As read, on the device; ``quarantined`` names the samples that could not be read."""
    gradients: GradientBatch | None
    """None where no sample of the batch could be read."""


class GradientFeed:
    """Computes the gradients of a model on a dataset.

    Args:
        samples: The dataset.
        model: On the device.
        task: The loss.
        options: Which gradients, and how.
        device: Where to compute.
        workers: Processes that read the samples.
        neighbours: Replaces each sample's logits by the mean prediction of its nearest neighbours.
    """

    def __init__(
        self,
        samples: Samples,
        model: Model,
        task: Task,
        options: GradientOptions,
        *,
        device: torch.device,
        workers: int | Literal["auto"] = "auto",
        neighbours: Neighbours | None = None,
    ) -> None:
        self.samples = samples
        self.model = model
        self.device = device
        self.workers = workers
        self.options = options
        self.gradients = capture(model, task, options, neighbours)
        self._size: int | None = None if options.batch_size == "auto" else options.batch_size
        self._pieces = 1
        """Forward passes whose gradients are joined to one batch."""
        self._probed: int | None = None
        """Input bytes of the samples for which the size was chosen; batches of longer texts are smaller."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about gradients and inputs."""
        return tuple(
            note for one in (self.gradients, self.samples.reader) for note in getattr(one, "notes", ())
        )

    def __call__(self, rows: Int64[Tensor, " m"]) -> Iterator[Step]:
        """The gradients of these rows, in their order."""
        for batch in self._read(rows):
            if len(batch.rows):
                yield from self._computed(batch)
            else:
                yield Step(batch.to(self.device), None)
            del batch

    def finite(self, rows: Int64[Tensor, " m"], lost: MutableMapping[int, str]) -> Iterator[GradientBatch]:
        """The gradients of the samples that can be read and whose gradient is finite.

        Args:
            rows: Which samples, in order.
            lost: The rows of the other samples are added, each with the reason.
        """
        for step in self(rows):
            lost.update(step.batch.quarantined)
            if step.gradients is not None:
                good = finite(step.gradients)
                lost.update(dict.fromkeys(step.gradients.rows[~good.cpu()].tolist(), NOT_FINITE))
                found = only(step.gradients, good)
                del step, good
                yield found
                del found  # before the next one is computed

    @property
    def read_size(self) -> int:
        """How many samples are read together: one or more batches."""
        return self.batch_size() * self._pieces

    def limit(self, size: int) -> None:
        """Read no more than so many samples together from now on."""
        if size < self.read_size:
            self._size, self._pieces = min(self.batch_size(), size), 1

    def _read(self, rows: Int64[Tensor, " m"]) -> Iterator[Batch]:
        size = self.read_size
        if self.model.reads_inputs:
            pin = self.device.type != "cpu"
            yield from batches(self.samples, rows, size, workers=self.workers, pin=pin)
        else:
            for chunk in rows.split(size):
                yield Batch(chunk, None, self.samples.labels[chunk], {})

    def batch_size(self) -> int:
        """The configured size; if ``auto``, as many as make some megabytes of inputs and factors.

        The automatic size depends on data and model alone, not on timings, so that reruns are bit-equal.
        """
        if self._size is None:
            self._size = self._chosen_size()
        return self._size

    def _chosen_size(self) -> int:
        if not self.model.reads_inputs:
            return max(_FEWEST, min(_MOST_LOOKED_UP, _LOOKED_UP_BYTES // self._looked_up()))
        probe = _readable(self.samples)
        if probe is None:
            return _PROBE
        own = self._probed = max(1, probe.nbytes // len(probe.rows))
        inputs = _INPUT_BYTES // own
        if not isinstance(self.gradients, HeadGradients):
            taken = max(1, self.gradients(probe.to(self.device)).nbytes // len(probe.rows))
            if self.device.type != "cpu":
                return self._fitting(own + _FACTORS * taken)
            return max(1, min(_MOST, inputs, _FACTOR_BYTES // taken))
        widest = own
        if isinstance(self.model, Network):
            widest = max(own, self.model.widest(probe.to(self.device)))
        if self.device.type != "cpu":
            return self._fitting(own + _ACTIVATIONS * widest)
        size = max(_FEWEST, min(_MOST, _WIDEST_BYTES // widest))
        if isinstance(probe.inputs, torch.Tensor):
            self.gradients.piece = size  # not for texts, which are padded to the longest of the batch
            self._pieces = max(1, min(_MOST, inputs) // size)
        return size

    def _fitting(self, each: int) -> int:
        """How many samples of so many bytes a GPU has room for.

        A power of two, so that a little more or less free memory does not change the last bits of the scores.
        """
        room = min(free_bytes(self.device), total_bytes(self.device)) // _PART
        return 1 << (min(_MOST, max(1, room // each)).bit_length() - 1)

    def _looked_up(self) -> int:
        """Bytes of the logits, residual and features of a sample."""
        row = torch.arange(1)
        outputs = self.model.outputs(Batch(row, None, self.samples.labels[row].to(self.device), {}))
        features = 0 if outputs.features is None else outputs.features.nbytes
        return max(1, 2 * outputs.logits.nbytes + features)

    def _computed(self, batch: Batch) -> Iterator[Step]:
        size = self.read_size
        if self._probed is not None:
            size = max(1, size * self._probed // max(self._probed, batch.nbytes // len(batch.rows)))
        for part in batch.split(size):
            step = where_it_fits(partial(self._step, part))
            if step is not None:
                yield step
                step = None  # frees its memory before the next one is computed
            else:
                self.halve(len(part.rows))
                yield from self._computed(part)

    def _step(self, part: Batch) -> Step:
        batch = part.to(self.device)
        return Step(batch, self.gradients(batch))

    def halve(self, size: int) -> None:
        """Limit later batches to half of ``size`` samples, which did not fit in memory.

        Raises:
            GradientError: ``size`` is 1.
        """
        if size == 1:
            raise GradientError(
                "the gradient of a single sample does not fit in memory",
                place=str(self.device),
                hint="select fewer layers, or use a device with more memory",
            )
        free_cache(self.device)
        self._size, self._pieces = min(self.batch_size(), size // 2), 1


def _readable(samples: Samples) -> Batch | None:
    """The first few samples that can be read; None where none of the first 128 can."""
    for start in range(0, min(128, len(samples)), _PROBE):
        probe = samples.read(range(start, min(start + _PROBE, len(samples))))
        if len(probe.rows):
            return probe
    return None


def finite(batch: GradientBatch) -> Bool[Tensor, " b"]:
    """Which samples have finite residuals and features, and logits that are finite or minus infinity.

    Minus infinity means a probability of 0; it makes the loss infinite only for the class of the label.
    """
    logits = batch.logits.flatten(1)
    total = logits.clamp_min(_LEAST).sum(1) + batch.residual.flatten(1).sum(1)
    if batch.features is not None:
        total = total + batch.features.flatten(1).sum(1)
    if batch.losses is not None:
        total = torch.where(logits.isneginf().any(1), total + batch.losses, total)
    return torch.isfinite(total)


def only(batch: GradientBatch, chosen: Bool[Tensor, " b"]) -> GradientBatch:
    """The samples of a batch that are ``chosen``."""
    return batch if chosen.all() else batch.select(chosen.nonzero()[:, 0])


def gradients(
    samples: Samples,
    model: nn.Module | ModelSource,
    *,
    loss: str | Mapping[str, Any] | Task = "cross_entropy",
    layers: str | list[str] = "head",
    bias: bool = True,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    precision: Precision = "float32",
    workers: int | Literal["auto"] = "auto",
) -> Iterator[GradientBatch]:
    """The per-sample gradients of a dataset, batch by batch; arguments are the YAML keys of the same names.

    Samples that cannot be read, or whose gradient is not finite, are left out; ``rows`` of a batch are the
    indices of its samples.

    Args:
        samples: The dataset, by ``Samples.of``.
        model: The trained network, which is not changed; or the options of a model source.
        loss: The loss of a sample.
        layers: The parameters: ``head``, ``all``, or patterns of parameter names.
        bias: For the head: with its bias.
        batch_size: Samples a batch.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``.
        precision: Of the forward and backward pass.
        workers: Processes that read samples.

    Raises:
        OgaError: A mistake in the arguments or the data.
    """
    check_samples(samples, "samples")
    options = GradientOptions.given(
        {
            "layers": layers,
            "bias": bias,
            "batch_size": batch_size,
            "device": device,
            "precision": precision,
        },
        "gradients",
    )
    where = device_of(device)
    task = resolve(tasks, loss, by="name", place="loss")
    source = source_of(model)
    prepared = source.prepare(samples)
    feed = GradientFeed(prepared, source.open(prepared, where), task, options, device=where, workers=workers)
    yield from feed.finite(torch.arange(len(prepared)), {})
