"""``history.json``: the record of a training in its folder of checkpoints.

In: the document of a training and its samples. Out: the file; or its content.
"""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ogacli._version import __version__
from ogacli.base.atomic import holds_only
from ogacli.base.documents.json_document import read_json
from ogacli.data import Samples
from ogacli.errors import CheckpointError

SCHEMA_VERSION = 1
_HISTORY = "history.json"
_KIND = "oga training"
_FILES = (_HISTORY, "epoch-*.safetensors", "fold-*.safetensors", "fold-*.npy")
"""The only files in a folder of checkpoints."""


def write_history(
    folder: Path, document: Mapping[str, Any], samples: Samples, *, seed: int, settings: Mapping[str, Any]
) -> None:
    """Write the record of a training.

    Args:
        folder: Where the checkpoints are.
        document: The result of the training.
        samples: The training samples.
        seed: The seed of the training.
        settings: All settings of the training, as plain values; kept under ``config``.
    """
    versions = {"ogacli": __version__, "python": platform.python_version(), "torch": torch.__version__}
    record = {name: value for name, value in document.items() if name != "folder"}
    record |= {"kind": _KIND, "versions": versions, "seed": seed}
    record |= {"fingerprint": samples.fingerprint, "config": dict(settings)}
    (folder / _HISTORY).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_history(folder: Path) -> dict[str, Any]:
    """The record of a training; empty where there is none."""
    try:
        record = read_json(folder / _HISTORY, CheckpointError, finite=False)
    except (OSError, CheckpointError):
        return {}
    return record if isinstance(record, dict) and record.get("kind") == _KIND else {}


def is_training(folder: Path) -> bool:
    """True where a training wrote this folder and all files in it, which its record lists."""
    if not holds_only(folder, _FILES):
        return False
    record = read_history(folder)
    listed = {_HISTORY, *map(str, record.get("checkpoints") or ())}
    for fold in record.get("folds") or ():
        listed |= (
            {str(fold.get(name)) for name in ("checkpoint", "positions")} if isinstance(fold, dict) else set()
        )
    return bool(record) and {path.name for path in folder.iterdir()} <= listed


def by_id(samples: Samples, skipped: Mapping[int, str]) -> dict[str, str]:
    """``{id: reason}`` of skipped rows."""
    return {samples.ids[row].as_py(): reason for row, reason in skipped.items()}
