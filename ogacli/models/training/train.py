"""``oga train``: the reference trainer. Config -> a folder with a checkpoint of each epoch.

The folder holds ``epoch-001.safetensors`` and so on, and ``history.json``: what was trained, on what, with
which seed, and how each epoch went. It is there whole or not at all.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ogacli.base.atomic import check_free, holds_only, new_folder
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import type_name
from ogacli.base.seeding import seeded
from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.models.sources import Fit, ModelSource, NetworkSource
from ogacli.models.training.fit import Epoch, fit

if TYPE_CHECKING:
    from ogacli.config import Config

SCHEMA_VERSION = 1
_HISTORY = "history.json"
_KIND = "oga training"
_FILES = (_HISTORY, "epoch-*.safetensors", "fold-*.safetensors", "fold-*.npy")


@dataclass(frozen=True, slots=True)
class Training:
    """A training that is done."""

    folder: Path
    epochs: tuple[Epoch, ...]
    samples: int
    """How many were trained on."""
    skipped: Mapping[str, str]
    """``{id: reason}`` of the samples that could not be read."""

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """One an epoch, in order."""
        return tuple(self.folder / checkpoint_name(epoch.number) for epoch in self.epochs)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.folder),
            "checkpoints": [path.name for path in self.checkpoints],
            "samples": self.samples,
            "skipped": dict(self.skipped),
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }


def train(config: "Config", *, overwrite: bool = False, progress: Progress = SILENT) -> Training:
    """Train the config's model on the config's samples.

    Args:
        config: What to train, on what.
        overwrite: Replace an earlier training in the same folder.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    from ogacli.base.device import device_of

    source, folder = trainable(config.model), checkpoint_folder(config)
    check_free(folder, overwrite=overwrite, ours=is_training)
    device = device_of(config.train.device)
    samples = source.prepare(config.data.open())
    module = fresh(config, source, samples, device)
    with new_folder(folder, overwrite=overwrite, ours=is_training) as work:
        history = fit(
            module,
            samples,
            config.loss.loss(),
            config.train,
            device=device,
            workers=config.data.workers,
            progress=progress,
            after_epoch=lambda epoch: source.save(
                module, work / checkpoint_name(epoch.number), samples.classes
            ),
        )
        training = Training(folder, history.epochs, history.samples, named(samples, history.skipped))
        write_history(work, training.document(), config, samples)
    return training


def trainable(source: ModelSource) -> NetworkSource:
    """The source, if it is of a network.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(source, NetworkSource):
        raise ConfigError("this model cannot be trained", place="model.source", found=repr(type_name(source)))
    return source


def fresh(config: "Config", source: NetworkSource, samples: Samples, device: torch.device) -> nn.Module:
    """The network as its training begins."""
    with seeded(config.train.seed, device):
        start = source.model_copy(update={"checkpoint": config.train.start})
        return start.network(Fit.of(samples))


def named(samples: Samples, skipped: Mapping[int, str]) -> dict[str, str]:
    """``{id: reason}`` of rows."""
    return {samples.ids[row].as_py(): reason for row, reason in skipped.items()}


def write_history(folder: Path, document: dict[str, Any], config: "Config", samples: Samples) -> None:
    """``history.json``: what was trained, on what, with which seed, and how it went."""
    record = document | {"kind": _KIND, "versions": _versions(), "seed": config.train.seed}
    record |= {"fingerprint": samples.fingerprint, "config": dict(config.resolved)}
    del record["folder"]
    (folder / _HISTORY).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def checkpoint_folder(config: "Config") -> Path:
    """Where the checkpoints go.

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


def checkpoint_name(number: int) -> str:
    """The file of an epoch, counted from 1."""
    return f"epoch-{number:03d}.safetensors"


def is_training(folder: Path) -> bool:
    """True where ``oga train`` wrote this folder and all that is in it."""
    return holds_only(folder, _FILES) and bool(read_history(folder))


def read_history(folder: Path) -> dict[str, Any]:
    """The record of a training; empty where there is none."""
    try:
        record = json.loads((folder / _HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and record.get("kind") == _KIND else {}


def _versions() -> dict[str, str]:
    from ogacli._version import __version__

    return {"ogacli": __version__, "python": platform.python_version(), "torch": torch.__version__}
