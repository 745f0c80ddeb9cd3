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

from ogacli.errors import ConfigError
from ogacli.fit import Epoch, fit, seeded
from ogacli.folders import check_free, new_folder
from ogacli.models import Fit, NetworkSource
from ogacli.models.checkpoints import save_weights
from ogacli.progress import SILENT, Progress
from ogacli.registry import type_name

if TYPE_CHECKING:
    from ogacli.config import Config

SCHEMA_VERSION = 1
_HISTORY = "history.json"
_KIND = "oga training"


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
    from ogacli.device import device_of

    options, source = config.train, config.model
    folder = checkpoint_folder(config)
    check_free(folder, overwrite=overwrite, ours=is_training)
    if not isinstance(source, NetworkSource):
        name = type_name(source)
        raise ConfigError("this model cannot be trained", place="model.source", found=repr(name))
    device = device_of(options.device)
    samples = config.data.open()
    with seeded(options.seed, device):
        module = source.model_copy(update={"checkpoint": options.start}).network(Fit.of(samples))
    with new_folder(folder, overwrite=overwrite, ours=is_training) as work:
        history = fit(
            module,
            samples,
            config.loss.loss(),
            options,
            device=device,
            workers=config.data.workers,
            progress=progress,
            after_epoch=lambda epoch: save_weights(module, work / checkpoint_name(epoch.number)),
        )
        skipped = {samples.ids[row].as_py(): reason for row, reason in history.skipped.items()}
        training = Training(folder, history.epochs, history.samples, skipped)
        record = training.document() | {"kind": _KIND, "versions": _versions(), "seed": options.seed}
        record |= {"fingerprint": samples.fingerprint, "config": dict(config.resolved)}
        del record["folder"]
        (work / _HISTORY).write_text(
            json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return training


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
    """True where ``oga train`` wrote this folder."""
    try:
        record = json.loads((folder / _HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("kind") == _KIND


def _versions() -> dict[str, str]:
    import ogacli

    return {"ogacli": ogacli.__version__, "python": platform.python_version(), "torch": torch.__version__}
