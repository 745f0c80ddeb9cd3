"""An unfinished scan on disk: the fitted detectors and what was collected.

In: a collector and the detectors' states, now and then. Out: both, after an interruption. It lies beside
the output as ``<output>.partial``, and is written at an interruption, or once a scan has taken a minute.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli.base.atomic import holds_only
from ogacli.errors import RunError
from ogacli.scan.collect import Collector
from ogacli.scan.setup import Setup

_KIND = "oga unfinished scan"
_DOCUMENT = "scan.json"
_FILES = (
    _DOCUMENT,
    *(f"{name}.safetensors" for name in ("rows", "totals", "inputs", "evidence", "detector-*")),
)
"""What an unfinished scan holds, and nothing else."""
_SAVE_EVERY = 60.0
"""Seconds between two savings of an unfinished scan."""


def check_unfinished(output: Path) -> None:
    """Make sure that nothing but an unfinished scan of ours stands where one is kept.

    Raises:
        RunError: Something else does; it is left alone.
    """
    for folder in _folders(output):
        if not _free(folder):
            raise RunError(
                "something else stands where the unfinished scan is kept",
                place=str(folder),
                expected="nothing, or an unfinished scan that this version of oga wrote",
                hint="move it away, or choose another output; it is left alone",
            )


class Unfinished:
    """The saved state of one scan.

    Args:
        output: The run directory to be.
        setup: What is scanned, with what.
        checkpoints: The fingerprints of the weights.
    """

    def __init__(self, output: Path, setup: Setup, checkpoints: Mapping[str, str]) -> None:
        self.folder, self._work = _folders(output)
        shared = [setup.settings, setup.samples.fingerprint, checkpoints]
        document = json.dumps(shared, sort_keys=True, default=str)
        self._key = hashlib.sha256(document.encode()).hexdigest()
        """What must be the same when the scan goes on."""
        self._saved = time.monotonic()

    @property
    def exists(self) -> bool:
        """Whether there is something to resume."""
        return _free(self.folder) and (self.folder / _DOCUMENT).is_file()

    def save(
        self,
        collector: Collector,
        states: Callable[[], Sequence[Mapping[str, Tensor]]] = list,
        *,
        now: bool = False,
    ) -> None:
        """Write what there is, if the last time is long enough ago (or ``now``).

        Args:
            collector: What was collected.
            states: Returns the states of the detectors, once they are fitted.
            now: Write however recent the last time was.
        """
        if not now and time.monotonic() - self._saved < _SAVE_EVERY:
            return
        if not all(map(_free, (self.folder, self._work))):
            return  # somebody else's folder came there; the scan goes on without saving
        _discard(self._work)
        self._work.mkdir(parents=True)
        # The mark comes first: an interruption while the rest is written must leave what we know as ours.
        (self._work / _DOCUMENT).write_text(json.dumps({"kind": _KIND}), encoding="utf-8")
        for name, part in collector.parts().items():
            tensors = {key: value.cpu() for key, value in part.tensors().items()}
            save_file(tensors, self._work / f"{name}.safetensors")
        fitted = states()
        for i, state in enumerate(fitted):
            tensors = {key: value.cpu().contiguous() for key, value in state.items()}
            save_file(tensors, self._work / f"detector-{i}.safetensors")
        document: dict[str, Any] = {
            "kind": _KIND,
            "key": self._key,
            "checkpoint": collector.checkpoint,
            "detectors": len(fitted),
            "quarantined": list(collector.quarantined.items()),
        }
        (self._work / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        self.remove()
        self._work.rename(self.folder)
        self._saved = time.monotonic()

    def load(self, collector: Collector) -> list[dict[str, Tensor]]:
        """Fill a new collector; returns the detectors' states, none where they were not fitted yet.

        Raises:
            RunError: What was saved is of another config, dataset or checkpoint.
        """
        document = json.loads((self.folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document["key"] != self._key:
            raise RunError(
                "the unfinished scan is of another config, dataset or checkpoint",
                place=str(self.folder),
                hint="restore what was changed, or leave out --resume to begin anew",
            )
        for name, part in collector.parts().items():
            for key, tensor in load_file(self.folder / f"{name}.safetensors").items():
                getattr(part, key).copy_(tensor)
        collector.checkpoint = document["checkpoint"]
        collector.rows.quarantined.update(dict(document["quarantined"]))
        return [load_file(self.folder / f"detector-{i}.safetensors") for i in range(document["detectors"])]

    def remove(self) -> None:
        """Delete it, where it is ours."""
        _discard(self.folder)


def _folders(output: Path) -> tuple[Path, Path]:
    """Where the unfinished scan of an output is kept, and where it is written."""
    return output.with_name(output.name + ".partial"), output.with_name(output.name + ".partial.new")


def _free(folder: Path) -> bool:
    """Whether a place is empty, or holds what bears our mark and may be removed."""
    if not os.path.lexists(folder):
        return True
    if not holds_only(folder, _FILES):
        return False
    if not any(folder.iterdir()):
        return True
    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("kind") == _KIND


def _discard(folder: Path) -> None:
    """Remove an unfinished scan; what is none stays."""
    if os.path.lexists(folder) and _free(folder):
        shutil.rmtree(folder, ignore_errors=True)
