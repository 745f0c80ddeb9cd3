"""Cross-validation: networks that were each trained on all samples but those of one fold.

In: a config. Out: a folder with ``fold-1.safetensors`` and ``fold-1.npy`` (the positions that it was not
trained on) and so on, and the config that scores each sample by the network that has not seen it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.atomic import check_free, new_folder
from ogacli.base.progress import SILENT, Progress
from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.models.checkpoints.snapshots import Fold, Folds
from ogacli.models.training.fit import Epoch, accuracy, fit
from ogacli.models.training.train import (
    SCHEMA_VERSION,
    checkpoint_folder,
    fresh,
    is_training,
    named,
    read_history,
    trainable,
    write_history,
)

if TYPE_CHECKING:
    from ogacli.config import Config


@dataclass(frozen=True, slots=True)
class FoldTraining:
    """One of the networks."""

    number: int
    """From 1."""
    samples: int
    """How many it was trained on."""
    held_out: int
    epochs: tuple[Epoch, ...]
    accuracy: float | None
    """Share of the held out samples whose given label it predicts; None without classes."""

    @property
    def checkpoint(self) -> str:
        """The name of its file."""
        return _files(self.number)[0]

    @property
    def positions(self) -> str:
        """The name of the file of the positions that it was not trained on."""
        return _files(self.number)[1]


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """A training of all folds."""

    folder: Path
    folds: tuple[FoldTraining, ...]
    skipped: Mapping[str, str]
    """``{id: reason}`` of the samples that could not be read."""

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.folder),
            "folds": [
                asdict(fold) | {"checkpoint": fold.checkpoint, "positions": fold.positions}
                for fold in self.folds
            ],
            "skipped": dict(self.skipped),
        }


def train_folds(config: "Config", *, overwrite: bool = False, progress: Progress = SILENT) -> CrossValidation:
    """Train one network a fold of the config's samples; ``train.folds`` says how many.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    from ogacli.base.device import device_of

    source, folder = trainable(config.model), _folder(config)
    check_free(folder, overwrite=overwrite, ours=is_training)
    device, loss = device_of(config.train.device), config.loss.loss()
    samples = source.prepare(config.data.open())
    fold_of = assign(samples, config.train.folds or 0, config.train.seed)
    found: list[FoldTraining] = []
    skipped: dict[str, str] = {}
    with new_folder(folder, overwrite=overwrite, ours=is_training) as work:
        for number in range(1, int(fold_of.max()) + 2):
            rest, own = ((fold_of == number - 1) == held for held in (False, True))
            known, unknown = (samples.select(rows.nonzero()[:, 0]) for rows in (rest, own))
            module = fresh(config, source, known, device)
            history = fit(
                module, known, loss, config.train,
                device=device, workers=config.data.workers, progress=progress,
            )  # fmt: skip
            right = None
            if samples.categorical:
                right = accuracy(module, unknown, device=device, workers=config.data.workers)
            fold = FoldTraining(number, history.samples, len(unknown), history.epochs, right)
            source.save(module, work / fold.checkpoint, samples.classes)
            np.save(work / fold.positions, unknown.positions.numpy())
            skipped |= named(known, history.skipped)
            found.append(fold)
        training = CrossValidation(folder, tuple(found), skipped)
        write_history(work, training.document(), config, samples)
    return training


def folded(config: "Config", count: int, *, overwrite: bool = False, progress: Progress = SILENT) -> "Config":
    """The config with a checkpoint a fold; they are trained unless the same training is there already."""
    config = _with(config, "train", folds=count)
    folder = _folder(config)
    if not _same(read_history(folder), config):
        train_folds(config, overwrite=overwrite, progress=progress)
    return _with(config, "model", checkpoint=_checkpoints(folder, count))


@contextmanager
def rehearsed(config: "Config", count: int, *, overwrite: bool = False) -> Iterator["Config"]:
    """The config that :func:`folded` makes, without a training: what is not there is as training begins.

    Raises:
        OgaError: What a training of the folds would raise at its start.
    """
    from ogacli.base.device import device_of

    config = _with(config, "train", folds=count)
    source, folder = trainable(config.model), _folder(config)
    if _same(read_history(folder), config):
        yield _with(config, "model", checkpoint=_checkpoints(folder, count))
        return
    check_free(folder, overwrite=overwrite, ours=is_training)
    samples = source.prepare(config.data.open())
    fold_of = assign(samples, count, config.train.seed)
    module = fresh(config, source, samples, device_of(config.train.device))
    with TemporaryDirectory() as name:
        start, folds = Path(name, "start.safetensors"), []
        source.save(module, start, samples.classes)
        for number in range(count):
            positions = Path(name, _files(number + 1)[1])
            np.save(positions, samples.positions[fold_of == number].numpy())
            folds.append(Fold(checkpoint=str(start), samples=str(positions)))
        yield _with(config, "model", checkpoint=Folds(folds=tuple(folds)))


def assign(samples: Samples, count: int, seed: int) -> Int64[Tensor, " n"]:
    """The fold of each sample, from 0: of equal sizes, each class dealt out evenly.

    Raises:
        ConfigError: There are fewer samples than folds.
    """
    if len(samples) < count:
        raise ConfigError(
            "more folds than samples", place="train.folds", found=count, expected=f"at most {len(samples)}"
        )
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    if samples.categorical:
        order = order[samples.labels[order].argsort(stable=True)]
    fold = torch.empty(len(samples), dtype=torch.int64)
    fold[order] = torch.arange(len(samples)) % count
    return fold


def _files(number: int) -> tuple[str, str]:
    """The names of a fold's files: of the weights, and of the positions that they were not trained on."""
    return f"fold-{number}.safetensors", f"fold-{number}.npy"


def _checkpoints(folder: Path, count: int) -> Folds:
    """The folds in such a folder."""
    places = ([str(folder / name) for name in _files(number)] for number in range(1, count + 1))
    return Folds(
        folds=tuple(Fold(checkpoint=checkpoint, samples=positions) for checkpoint, positions in places)
    )


def _folder(config: "Config") -> Path:
    folder = checkpoint_folder(config)
    return folder.with_name(f"{folder.name}-folds")


def _with(config: "Config", section: str, **changes: Any) -> "Config":
    """The config with some options of a section changed, in what a run keeps of it as well."""
    options = getattr(config, section).model_copy(update=changes)
    resolved = dict(config.resolved)
    resolved[section] = resolved[section] | options.model_dump(mode="json", include=set(changes))
    return replace(config, **{section: options}, resolved=resolved)


def _same(history: Mapping[str, Any], config: "Config") -> bool:
    """Whether a training is the one that the config describes."""
    if not history:
        return False

    def described(resolved: Mapping[str, Any]) -> str:
        sections = {name: resolved.get(name) for name in ("data", "model", "loss", "train")}
        sections["model"] = {k: v for k, v in (sections["model"] or {}).items() if k != "checkpoint"}
        return json.dumps(sections, sort_keys=True, default=str)

    return described(history["config"]) == described(config.resolved)
