"""Accuracy of a network on samples.

In: a network, or a source and samples to train one, and samples with one class each. Out: the accuracy, 0 to
1; or for each sample whether its label is predicted.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.base.device import device_of
from ogacli.base.precision import computing_on
from ogacli.base.progress import SILENT, Progress
from ogacli.data import Samples
from ogacli.data.loader import batches
from ogacli.errors import DataError
from ogacli.models.outputs import first_logits
from ogacli.models.sources import NetworkSource
from ogacli.models.tasks import Task
from ogacli.models.training.loop import TrainOptions, train_network
from ogacli.models.training.start import new_network

_READ = 128
"""Samples that are predicted at a time."""


def accuracy(
    module: nn.Module,
    samples: Samples,
    *,
    device: torch.device | None = None,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
) -> float:
    """Share of the readable samples whose given label the network predicts.

    Raises:
        DataError: The labels are not one class a sample, or no sample can be read.
    """
    found = correct(module, samples, device=device, workers=workers, progress=progress)
    return float(found[~found.isnan()].double().mean())


def correct(
    module: nn.Module,
    samples: Samples,
    *,
    device: torch.device | None = None,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
) -> Float[Tensor, " n"]:
    """For each sample 1 where the network predicts its label, 0 elsewhere; NaN where it cannot be read.

    Raises:
        DataError: The labels are not one class a sample, or no sample can be read.
    """
    if samples.class_index is None:
        raise DataError(
            "accuracy needs one class a sample", found="labels of several numbers or of a regression"
        )
    device = device or torch.device("cpu")
    module.to(device).eval()
    found = torch.full((len(samples),), torch.nan)
    with (
        torch.inference_mode(),
        computing_on(device),
        progress.bar("predicting held-out samples", len(samples)) as advance,
    ):
        order = samples.longest_first(torch.arange(len(samples)))
        for batch in batches(samples, order, _READ, workers=workers, pin=device.type != "cpu"):
            if len(batch.rows):
                here = batch.to(device)
                found[batch.rows] = (first_logits(module, here, 0).argmax(1) == here.labels).float().cpu()
            advance(len(batch.rows) + len(batch.quarantined))
    if found.isnan().all():
        raise DataError("none of the samples can be read", place=f"sample {samples.ids[0].as_py()!r}")
    return found


def trained_accuracy(
    samples: Samples,
    test: Samples,
    source: NetworkSource,
    task: Task,
    options: TrainOptions,
    *,
    seed: int,
    weights: Float[Tensor, " n"] | None = None,
    workers: int | Literal["auto"] = "auto",
) -> float:
    """The share of ``test`` that is right in :func:`trained_correct`."""
    found = trained_correct(samples, test, source, task, options, seed=seed, weights=weights, workers=workers)
    return float(found[~found.isnan()].double().mean())


def trained_correct(
    samples: Samples,
    test: Samples,
    source: NetworkSource,
    task: Task,
    options: TrainOptions,
    *,
    seed: int,
    weights: Float[Tensor, " n"] | None = None,
    workers: int | Literal["auto"] = "auto",
) -> Float[Tensor, " m"]:
    """What a fresh network predicts rightly of ``test`` after a training on ``samples``, as :func:`correct`.

    Args:
        samples: The training samples, as ``source.prepare`` returns them.
        test: The test samples, prepared as well.
        source: Builds the network.
        task: Gives the loss of each sample.
        options: How to train; ``output``, ``folds`` and ``start`` are not used.
        seed: Replaces ``options.seed``. The same seed gives the same initial weights for all samples.
        weights: How much the loss of each training sample counts.
        workers: Processes that read and decode.

    Raises:
        DataError: The labels are not one class a sample, or no sample can be read.
    """
    device = device_of(options.device)
    module = new_network(source, samples, start=None, seed=seed, device=device)
    options = options.model_copy(update={"seed": seed})
    train_network(module, samples, task, options, weights=weights, device=device, workers=workers)
    return correct(module, test, device=device, workers=workers)
