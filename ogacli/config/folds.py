"""What a config says of the training of its model, and of the checkpoints of its folds.

In: a config. Out: the arguments of ``train`` and ``train_folds``, and the config that scores each sample by
the network that was not trained on it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ogacli.base.atomic import check_free
from ogacli.base.progress import SILENT, Progress
from ogacli.config import Config
from ogacli.errors import ConfigError
from ogacli.models.training.folds import checkpoints, train_folds, untrained_folds
from ogacli.models.training.history import is_training, read_history
from ogacli.models.training.start import trainable


def checkpoint_folder(config: Config) -> Path:
    """The folder of the checkpoints.

    Raises:
        ConfigError: The config does not say, or it names a bucket.
    """
    found = config.train.output or (f"{config.output}-checkpoints" if config.output else None)
    if found is None:
        raise ConfigError(
            "no place for the checkpoints",
            place="train.output",
            hint="add `output: checkpoints/NAME` under `train:`",
        )
    if "://" in found:
        raise ConfigError(
            "checkpoints are written to a local folder", place="train.output", found=found, expected="a path"
        )
    return Path(found).absolute()


def folds_folder(config: Config) -> Path:
    """The folder of the checkpoints of folds."""
    folder = checkpoint_folder(config)
    return folder.with_name(f"{folder.name}-folds")


def arguments(config: Config, output: Path, *, overwrite: bool, progress: Progress) -> dict[str, Any]:
    """The arguments of ``train`` and ``train_folds`` for this config.

    Raises:
        OgaError: The model cannot be trained, the folder is taken, or the samples cannot be opened.
    """
    source = trainable(config.model)
    check_free(output, overwrite=overwrite, ours=is_training)  # before the samples are opened
    return {
        "samples": source.prepare(config.data.open()),
        "source": source,
        "task": config.loss,
        "options": config.train,
        "output": output,
        "settings": config.resolved,
        "workers": config.data.workers,
        "overwrite": overwrite,
        "progress": progress,
    }


def folded(config: Config, count: int, *, overwrite: bool = False, progress: Progress = SILENT) -> Config:
    """The config with a checkpoint a fold; they are trained unless the same training is there already."""
    config = _with(config, "train", folds=count)
    folder = folds_folder(config)
    if not _same(read_history(folder), config):
        train_folds(**arguments(config, folder, overwrite=overwrite, progress=progress))
    return _with(config, "model", checkpoint=checkpoints(folder, count))


@contextmanager
def rehearsed(config: Config, count: int, *, overwrite: bool = False) -> Iterator[Config]:
    """The config that :func:`folded` makes, without a training.

    Where the same training is not there already, the checkpoints hold untrained networks and are deleted
    after the block.

    Raises:
        OgaError: What a training of the folds would raise at its start.
    """
    config = _with(config, "train", folds=count)
    folder = folds_folder(config)
    if _same(read_history(folder), config):
        yield _with(config, "model", checkpoint=checkpoints(folder, count))
        return
    given = arguments(config, folder, overwrite=overwrite, progress=SILENT)
    with TemporaryDirectory() as name:
        found = untrained_folds(given["samples"], given["source"], config.train, Path(name))
        yield _with(config, "model", checkpoint=found)


def _with(config: Config, section: str, **changes: Any) -> Config:
    """The config with some options of a section changed, in ``resolved`` as well."""
    options = getattr(config, section).model_copy(update=changes)
    resolved = dict(config.resolved)
    resolved[section] = resolved[section] | options.model_dump(mode="json", include=set(changes))
    return replace(config, **{section: options}, resolved=resolved)


def _same(history: Mapping[str, Any], config: Config) -> bool:
    """Whether a training had the data, model, loss and options that the config describes."""
    if not history:
        return False

    def described(resolved: Mapping[str, Any]) -> str:
        sections = {name: resolved.get(name) for name in ("data", "model", "loss", "train")}
        sections["model"] = {k: v for k, v in (sections["model"] or {}).items() if k != "checkpoint"}
        return json.dumps(sections, sort_keys=True, default=str)

    return described(history["config"]) == described(config.resolved)
