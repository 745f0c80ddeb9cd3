"""Accuracy of a network on samples.

In: a network, or a source and samples to train one, and samples with one class each. Out: accuracy, 0 to 1.
"""

from typing import Literal

import torch
from torch import nn

from ogacli.base.device import device_of
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
) -> float:
    """Share of the readable samples whose given label the network predicts.

    Raises:
        DataError: The labels are not one class a sample, or no sample can be read.
    """
    if samples.class_index is None:
        raise DataError(
            "accuracy needs one class a sample", found="labels of several numbers or of a regression"
        )
    device = device or torch.device("cpu")
    module.to(device).eval()
    correct = seen = 0
    with torch.inference_mode():
        order = samples.longest_first(torch.arange(len(samples)))
        for batch in batches(samples, order, _READ, workers=workers):
            if len(batch.rows):
                here = batch.to(device)
                correct += int((first_logits(module, here, 0).argmax(1) == here.labels).sum())
                seen += len(here.rows)
    if not seen:
        raise DataError("none of the samples can be read", place=f"sample {samples.ids[0].as_py()!r}")
    return correct / seen


def trained_accuracy(
    samples: Samples,
    test: Samples,
    source: NetworkSource,
    task: Task,
    options: TrainOptions,
    *,
    seed: int,
    workers: int | Literal["auto"] = "auto",
) -> float:
    """Accuracy on ``test`` of a fresh network after a training on ``samples``.

    Args:
        samples: The training samples, as ``source.prepare`` returns them.
        test: The test samples, prepared as well.
        source: Builds the network.
        task: Gives the loss of each sample.
        options: How to train; ``output``, ``folds`` and ``start`` are not used.
        seed: Replaces ``options.seed``. The same seed gives the same initial weights for all samples.
        workers: Processes that read and decode.

    Raises:
        DataError: The labels are not one class a sample, or no sample can be read.
    """
    device = device_of(options.device)
    module = new_network(source, samples, start=None, seed=seed, device=device)
    options = options.model_copy(update={"seed": seed})
    train_network(module, samples, task, options, device=device, workers=workers)
    return accuracy(module, test, device=device, workers=workers)
