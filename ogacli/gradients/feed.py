"""Gradients of a dataset: read a batch, move it to the device, compute its gradients.

In: rows of the samples. Out: for each batch a ``Step``: the batch, with the samples that could not be read,
and its ``GradientBatch``. Where a batch does not fit in memory, it and all later ones are halved.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from ogacli.base.device import device_of, free_cache, where_it_fits
from ogacli.base.precision import Precision
from ogacli.base.registry import resolve
from ogacli.data import Batch, Samples
from ogacli.data.loader import batches
from ogacli.data.samples import check_samples
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch, GradientOptions, HeadGradients, Neighbours, capture
from ogacli.gradients.batch_size import BatchSize, batch_size
from ogacli.models import Model
from ogacli.models.sources import ModelSource
from ogacli.models.sources.in_memory import source_of
from ogacli.models.tasks import Task, tasks

NOT_FINITE = "non-finite gradient"
"""The reason why a sample that could be read has no score."""

_LEAST = -1e30
"""In place of lower logits where a sum shows whether any is not finite."""


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
        self._size: BatchSize | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about gradients, model and inputs."""
        told = (self.gradients, self.model, self.samples.reader)
        return tuple(note for one in told for note in getattr(one, "notes", ()))

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
    def size(self) -> BatchSize:
        """How many samples are computed together; chosen when it is first needed."""
        if self._size is None:
            self._size = batch_size(self.samples, self.model, self.gradients, self.options, self.device)
            if isinstance(self.gradients, HeadGradients) and self._size.passes > 1:
                self.gradients.piece = self._size.samples
        return self._size

    @property
    def read_size(self) -> int:
        """How many samples are read together: those of one or more forward passes."""
        return self.size.samples * self.size.passes

    def limit(self, size: int) -> None:
        """Read no more than so many samples together from now on."""
        if size < self.read_size:
            samples = min(self.size.samples, size)
            self._size = replace(self.size, samples=samples, passes=size // samples)

    def _read(self, rows: Int64[Tensor, " m"]) -> Iterator[Batch]:
        size = self.read_size
        if self.model.reads_inputs:
            pin = self.device.type != "cpu"
            yield from batches(self.samples, rows, size, workers=self.workers, pin=pin)
        else:
            for chunk in rows.split(size):
                yield Batch(chunk, None, self.samples.labels[chunk], {})

    def _computed(self, batch: Batch) -> Iterator[Step]:
        size, probed = self.read_size, self.size.probed
        if probed is not None:
            size = max(1, size * probed // max(probed, batch.nbytes // len(batch.rows)))
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
        self.limit(size // 2)


def finite(batch: GradientBatch) -> Bool[Tensor, " b"]:
    """Which samples have finite residuals and features, and logits that are finite or minus infinity.

    Minus infinity means a probability of 0; it makes the loss infinite only for the class of the label.
    """
    logits = batch.logits.flatten(1)
    total = logits.clamp_min(_LEAST).sum(1) + batch.residual.flatten(1).sum(1)
    if batch.features is not None:
        total += batch.features.flatten(1).sum(1)
    if batch.losses is not None:
        total = torch.where(logits.isneginf().any(1), total + batch.losses, total)
    return total * 0 == 0  # on a GPU half the operations of ``isfinite``


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
