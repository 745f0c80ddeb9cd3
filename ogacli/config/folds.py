"""Training and cross-validation as a config describes them.

In: a config. Out: the arguments of ``train`` and ``train_folds``, the folders of checkpoints, and the config
that scores each sample by the network that was not trained on it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ogacli.base.atomic import check_free
from ogacli.base.processes.ranks import ALONE, Ranks, Tensors
from ogacli.base.processes.running import running
from ogacli.base.progress import SILENT, Progress
from ogacli.config import Config
from ogacli.errors import ConfigError, DataError
from ogacli.models.training.folds import checkpoints, train_folds, untrained_folds
from ogacli.models.training.history import is_training, read_history
from ogacli.models.training.start import trainable


def local_folder(folder: str | Path | None, key: str, hint: str) -> Path:
    """A folder to write, as an absolute path.

    Args:
        folder: As configured.
        key: The config key that names it.
        hint: What to do where it is None.

    Raises:
        ConfigError: It is None, or not local.
    """
    if folder is None:
        raise ConfigError("no output given", place=key, hint=hint)
    if "://" in str(folder):
        raise ConfigError("not a local folder", place=key, found=str(folder), expected="a path")
    return Path(folder).absolute()


def checkpoint_folder(config: Config) -> Path:
    """The folder of the checkpoints of a training.

    Raises:
        ConfigError: It is not configured, or not local.
    """
    folder = config.train.output or (f"{config.output}-checkpoints" if config.output else None)
    return local_folder(folder, "train.output", "add `output: checkpoints/NAME` under `train:`")


@contextmanager
def alone(folder: Path, command: str, progress: Progress, ranks: Ranks) -> Iterator[Progress]:
    """Hold the lock of what the first rank writes; yields the display of progress.

    Raises:
        RunError: Another command holds it.
    """
    if not ranks.first:
        yield progress
        return
    with running(folder, command, progress) as (_, shown):
        yield shown


def folds_folder(config: Config) -> Path:
    """The folder of the checkpoints of cross-validation."""
    folder = checkpoint_folder(config)
    return folder.with_name(f"{folder.name}-folds")


def arguments(config: Config, output: Path, *, overwrite: bool, progress: Progress) -> dict[str, Any]:
    """The arguments of ``train`` and ``train_folds`` for this config.

    Raises:
        OgaError: The model cannot be trained, the folder exists, or the samples cannot be opened.
    """
    source = trainable(config.model)
    check_free(output, overwrite=overwrite, ours=is_training)  # before the samples are opened
    return {
        "samples": config.train.weighted(source.prepare(config.data.open())),
        "source": source,
        "task": config.loss,
        "options": config.train,
        "output": output,
        "settings": config.resolved,
        "workers": config.data.workers,
        "overwrite": overwrite,
        "progress": progress,
    }


def folded(
    config: Config,
    count: int,
    *,
    overwrite: bool = False,
    ranks: Ranks = ALONE,
    progress: Progress = SILENT,
) -> Config:
    """The config with one checkpoint per fold; they are trained unless the same training exists already."""
    config, folder, trained = _cross_validated(config, count)

    def decide() -> Tensors:
        return {"trained": torch.tensor(trained and _same_samples(config, folder, overwrite=overwrite))}

    if not ranks.of_first(decide)["trained"]:
        with alone(folder, "train", progress, ranks) as shown:
            train_folds(**arguments(config, folder, overwrite=overwrite, progress=shown), ranks=ranks)
    return _with(config, "model", checkpoint=checkpoints(folder, count))


@contextmanager
def rehearsed(config: Config, count: int, *, overwrite: bool = False) -> Iterator[Config]:
    """The config of :func:`folded`, without a training.

    Where the same training does not exist yet, the checkpoints hold untrained networks and are deleted after
    the block.

    Raises:
        OgaError: What a training of the folds would raise at its start.
    """
    config, folder, trained = _cross_validated(config, count)
    if trained and _same_samples(config, folder, overwrite=overwrite):
        yield _with(config, "model", checkpoint=checkpoints(folder, count))
        return
    given = arguments(config, folder, overwrite=overwrite, progress=SILENT)
    with TemporaryDirectory() as name:
        untrained = untrained_folds(given["samples"], given["source"], config.train, Path(name))
        yield _with(config, "model", checkpoint=untrained)


def _cross_validated(config: Config, count: int) -> tuple[Config, Path, bool]:
    """The config with this number of folds, their folder, and whether this training exists there."""
    config = _with(config, "train", folds=count)
    folder = folds_folder(config)
    history = read_history(folder)
    return config, folder, bool(history) and _training(history["config"]) == _training(config.resolved)


def _same_samples(config: Config, folder: Path, *, overwrite: bool) -> bool:
    """Whether folds were trained on the samples as they are now.

    Raises:
        DataError: They were not, and may not be replaced.
    """
    samples = trainable(config.model).prepare(config.data.open())
    if samples.fingerprint == read_history(folder).get("fingerprint"):
        return True
    if overwrite:
        return False
    raise DataError(
        "the dataset has changed since these folds were trained",
        place=str(folder),
        hint="--overwrite trains them anew, or name another `train.output`",
    )


def _training(resolved: Mapping[str, Any]) -> str:
    """The data, model, loss and options of a training, as JSON; the checkpoint of the model is left out."""
    sections = {name: resolved.get(name) for name in ("data", "model", "loss", "train")}
    sections["model"] = {k: v for k, v in (sections["model"] or {}).items() if k != "checkpoint"}
    return json.dumps(sections, sort_keys=True, default=str)


def _with(config: Config, section: str, **changes: Any) -> Config:
    """The config with changed options of a section, also in ``resolved``."""
    options = getattr(config, section).model_copy(update=changes)
    resolved = dict(config.resolved)
    resolved[section] = resolved[section] | options.model_dump(mode="json", include=set(changes))
    return replace(config, **{section: options}, resolved=resolved)
