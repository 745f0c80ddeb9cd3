"""The function ``ogacli.train``: the reference trainer on Python objects.

In: samples and a network with fresh weights. Out: a folder with a checkpoint of each epoch, or of each fold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import resolve
from ogacli.data import Samples
from ogacli.data.samples import check_samples
from ogacli.data.weights import checked
from ogacli.models.sources import NetworkSource
from ogacli.models.sources.in_memory import network_source_of, settings_of
from ogacli.models.tasks import Task, tasks
from ogacli.models.training.folds import CrossValidation, train_folds
from ogacli.models.training.loop import TrainOptions
from ogacli.models.training.train import Training
from ogacli.models.training.train import train as train_epochs


def train(
    samples: Samples,
    network: Callable[[], nn.Module] | NetworkSource,
    *,
    output: str | Path,
    loss: str | Mapping[str, Any] | Task = "cross_entropy",
    options: Mapping[str, Any] | TrainOptions | None = None,
    weights: Sequence[float] | np.ndarray[Any, Any] | Tensor | None = None,
    workers: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Training | CrossValidation:
    """Train a network and keep a checkpoint of each epoch, or with ``folds`` one of each fold.

    Args:
        samples: The training samples, by ``Samples.of``.
        network: Returns a network with fresh weights; or the options of a model source.
        output: The folder to write.
        loss: The loss of a sample.
        options: The keys of the ``train:`` section, such as ``{"epochs": 20, "optimizer": "sgd"}``.
        weights: How much the loss of each sample counts, relative to the mean: numbers from 0, [n].
            Multiplied with the weights of the samples, which come from a manifest, and ``options.weights``.
        workers: Processes that read samples.
        overwrite: Replace an earlier training in the same folder.
        progress: Shows how many samples have been read and trained on.

    Raises:
        OgaError: A mistake of the user; nothing is written then.
    """
    check_samples(samples, "samples")
    chosen = TrainOptions.given(options, "train")
    task, source = resolve(tasks, loss, by="name", place="loss"), network_source_of(network)
    run = train_epochs if chosen.folds is None else train_folds
    if weights is not None:
        given = checked(weights, samples, "weights")
        samples = replace(samples, weights=given if samples.weights is None else samples.weights * given)
    return run(
        source.prepare(chosen.weighted(samples)),
        source,
        task,
        chosen,
        output=Path(output).absolute(),
        settings=settings_of(samples, network, task, train=chosen),
        workers=workers,
        overwrite=overwrite,
        progress=progress,
    )
