"""An unfinished scan on disk: the fitted detectors and what was collected.

In: a collector and the states of the detectors. Out: both again, after an interruption. The folder is
``<output>.partial``, beside the run directory to be. It is written at an interruption, and every minute.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli._version import __version__
from ogacli.base.atomic import holds_only, new_folder
from ogacli.detectors.label_noise.signals import Signals
from ogacli.errors import RunError
from ogacli.scan.collect import Collector
from ogacli.scan.setup import Setup
from ogacli.scan.tried import Tried, check_tried
from ogacli.verdict.diagnosis import CheckpointDiagnosis

_KIND = "oga unfinished scan"
_FORMAT = 2
"""Differs where an earlier version saved something else."""
_DOCUMENT = "scan.json"
_FILES = (
    _DOCUMENT,
    *(f"{name}.safetensors" for name in ("rows", "totals", "inputs", "evidence", "detector-*")),
)
_SAVE_EVERY = 60.0
"""Seconds from one saving to the next."""


def check_unfinished(output: Path) -> None:
    """Make sure that ``<output>.partial`` is free, or an unfinished scan that may be replaced.

    Raises:
        RunError: Something else is there; it is left alone.
    """
    folder = _folder(output)
    check_tried(_tried(output))
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
        setup: The input of the scan.
        checkpoints: The fingerprints of the weights.
    """

    def __init__(self, output: Path, setup: Setup, checkpoints: Mapping[str, str]) -> None:
        self.folder = _folder(output)
        self._output = output
        self._tried: Tried | None = None
        datasets = [None if one is None else one.fingerprint for one in (setup.samples, setup.validation)]
        shared = [_FORMAT, __version__, setup.settings, datasets, checkpoints]
        document = json.dumps(shared, sort_keys=True, default=str)
        self._key = hashlib.sha256(document.encode()).hexdigest()
        """Only a scan with the same key can be continued."""
        self._saved = time.monotonic()

    @property
    def exists(self) -> bool:
        """Whether there is something to resume."""
        return (self.folder / _DOCUMENT).is_file() and _free(self.folder)

    def save(
        self,
        collector: Collector,
        states: Callable[[], Sequence[Mapping[str, Tensor]]] = list,
        *,
        now: bool = False,
    ) -> None:
        """Write the state, if the last time was a minute ago or more.

        An interruption while it is written leaves the earlier state in place.

        Args:
            collector: The results so far.
            states: Returns the states of the detectors, once they are fitted.
            now: Write however recent the last time was.
        """
        if not now and time.monotonic() - self._saved < _SAVE_EVERY:
            return
        if not _free(self.folder):
            return  # another program has written there; the scan goes on without saving
        with new_folder(self.folder, overwrite=True, ours=_free) as work:
            parts = {name: part.tensors() for name, part in collector.parts().items()}
            fitted = {f"detector-{i}": state for i, state in enumerate(states())}
            for name, tensors in (parts | fitted).items():
                on_cpu = {key: value.cpu().contiguous() for key, value in tensors.items()}
                save_file(on_cpu, work / f"{name}.safetensors")
            document: dict[str, Any] = {
                "kind": _KIND,
                "key": self._key,
                "checkpoints": [one.model_dump(mode="json") for one in collector.checkpoints],
                "signals": [[weight, *one.numbers()] for weight, one in collector.signals],
                "rescored": collector.rescored,
                "detectors": len(fitted),
                "quarantined": [
                    list(reasons.items())
                    for reasons in (collector.rows.quarantined, collector.totals.quarantined)
                ],
            }
            (work / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        self._saved = time.monotonic()

    def load(self, collector: Collector) -> list[dict[str, Tensor]]:
        """Fill a new collector; returns the states of the detectors, none where they were not fitted yet.

        Raises:
            RunError: The saved scan had another config, dataset, checkpoint or version.
        """
        document = json.loads((self.folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document.get("key") != self._key:
            raise RunError(
                "the unfinished scan is of another config, dataset, checkpoint or version of oga",
                place=str(self.folder),
                hint="restore what was changed, or leave out --resume to begin anew",
            )
        for name, part in collector.parts().items():
            for key, tensor in load_file(self.folder / f"{name}.safetensors").items():
                getattr(part, key).copy_(tensor)
        collector.checkpoints = [CheckpointDiagnosis.model_validate(one) for one in document["checkpoints"]]
        collector.signals = [(one[0], Signals.of_numbers(one[1:])) for one in document["signals"]]
        collector.rescored = document["rescored"]
        rows, totals = map(dict, document["quarantined"])
        collector.rows.quarantined.update(rows)
        collector.totals.quarantined.update(totals)
        return [load_file(self.folder / f"detector-{i}.safetensors") for i in range(document["detectors"])]

    def tried(self, *, resume: bool) -> Tried:
        """The trainings of a budget ``benefit`` that were made before an interruption.

        Args:
            resume: Go on with them; otherwise they are deleted.

        Raises:
            RunError: They are of another config, dataset, checkpoint or version.
        """
        self._tried = Tried(_tried(self._output), self._key, resume=resume)
        return self._tried

    def remove(self) -> None:
        """Delete the folder, if it holds an unfinished scan; it is never there in part."""
        if self._tried is not None:
            self._tried.remove()
        if not self.exists:
            return
        with TemporaryDirectory(
            prefix=f".{self.folder.name}-done-", dir=self.folder.parent, ignore_cleanup_errors=True
        ) as aside:
            self.folder.rename(Path(aside, "old"))


def _folder(output: Path) -> Path:
    """Where the unfinished scan of an output is kept."""
    return output.with_name(output.name + ".partial")


def _tried(output: Path) -> Path:
    """Where the trainings of a budget ``benefit`` are kept."""
    return output.with_name(output.name + ".tried.jsonl")


def _free(folder: Path) -> bool:
    """Whether a place is empty, or holds an unfinished scan of ours, which may be removed."""
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
