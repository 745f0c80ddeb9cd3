"""How the checkpoints of a scan were trained, and the same training on other samples.

In: the option ``model.checkpoint`` of a scan. Out: a ``Recipe``, which trains the same checkpoints (one,
several of one training, or one a fold) on a part of the samples. It is known for folders that ``oga train``
wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from ogacli.base.progress import SILENT, Progress
from ogacli.data import Samples
from ogacli.errors import CheckpointError, OgaError, RunError
from ogacli.models.checkpoints.snapshots import Folds, Weights, files
from ogacli.models.sources import NetworkSource
from ogacli.models.tasks import Task
from ogacli.models.training.folds import checkpoints, train_folds
from ogacli.models.training.history import is_training, read_history
from ogacli.models.training.loop import TrainOptions
from ogacli.models.training.train import epoch_file, train

_OTHER = (
    "only checkpoints that `oga train` (or `oga scan --folds`) wrote for these samples can be trained again"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training whose checkpoints score samples."""

    options: TrainOptions
    """With ``folds`` where each fold has a checkpoint."""
    epochs: tuple[int, ...] = ()
    """The epochs of one training whose checkpoints are used, from 1; empty with ``folds``."""

    @property
    def trainings(self) -> int:
        """The number of networks that are trained."""
        return self.options.folds or 1

    def trained(
        self,
        samples: Samples,
        source: NetworkSource,
        task: Task,
        folder: Path,
        *,
        weights: Float[Tensor, " n"] | None = None,
        workers: int | Literal["auto"] = "auto",
        progress: Progress = SILENT,
    ) -> NetworkSource:
        """Train on these samples; returns the source with the new checkpoints.

        Args:
            samples: The samples, prepared.
            source: Builds the network.
            task: Gives the loss.
            folder: A new folder for the checkpoints.
            weights: How much the loss of each sample counts.
            workers: Processes that read.
            progress: Shows the progress.

        Raises:
            OgaError: As of a training.
        """
        options = self.options
        settings = {"train": options.plain()}
        given: dict[str, Any] = {
            "output": folder,
            "settings": settings,
            "weights": weights,
            "workers": workers,
            "progress": progress,
        }
        checkpoint: Weights
        if options.folds is not None:
            train_folds(samples, source, task, options, **given)
            checkpoint = checkpoints(folder, options.folds)
        else:
            train(samples, source, task, options, **given)
            checkpoint = tuple(str(folder / epoch_file(number)) for number in self.epochs)
        return source.model_copy(update={"checkpoint": checkpoint})


def recipe_of(weights: Weights | None, samples: Samples) -> Recipe:
    """How checkpoints were trained.

    Args:
        weights: The option ``model.checkpoint``.
        samples: The samples that they were trained on, prepared.

    Raises:
        RunError: There are none, or they are not of one training by oga on these samples.
    """
    if weights is None:
        raise RunError("the scan had no checkpoint", place="model.checkpoint", expected=_OTHER)
    try:
        paths = [Path(path) for path in files(weights)]
    except CheckpointError as error:
        raise RunError("the checkpoints are gone", place="model.checkpoint", found=str(error)) from None
    folder = paths[0].parent
    history = read_history(folder) if is_training(folder) else {}
    if not history or any(path.parent != folder for path in paths):
        raise RunError("checkpoints from elsewhere", place=str(paths[0]), expected=_OTHER)
    if history.get("fingerprint") != samples.fingerprint:
        raise RunError("checkpoints that were trained on other samples", place=str(folder), expected=_OTHER)
    options = _options(history, folder)
    if isinstance(weights, Folds):
        return Recipe(options.model_copy(update={"folds": len(weights.folds)}))
    epochs = {epoch_file(number): number for number in range(1, options.epochs + 1)}
    unknown = [path.name for path in paths if path.name not in epochs]
    if unknown:
        raise RunError("not a checkpoint of an epoch", place=str(folder / unknown[0]), expected=_OTHER)
    return Recipe(options.model_copy(update={"folds": None}), tuple(epochs[path.name] for path in paths))


def _options(history: Mapping[str, Any], folder: Path) -> TrainOptions:
    """The options of a training by its record."""
    try:
        return TrainOptions.given(history["config"]["train"], "train")
    except (OgaError, KeyError, TypeError, ValueError):
        raise RunError("not a record that this version wrote", place=str(folder / "history.json")) from None
