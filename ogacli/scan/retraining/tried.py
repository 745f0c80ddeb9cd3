"""The finished trainings of a budget ``benefit``, kept on disk so that a killed scan can go on.

In: what a network predicts rightly, by fold, choice and seed. Out: the same, after an interruption. The file
is ``<output>.tried.jsonl``, beside the run directory to be: a line for each training, with a checksum.
"""

import base64
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ogacli.base.atomic import new_file
from ogacli.base.documents.json_document import parse_json, read_record
from ogacli.base.progress import SILENT, Progress
from ogacli.errors import RunError
from ogacli.verdict.benefit import Choice

_KIND = "oga tried amounts"
OTHER_SCAN = "restore what was changed, or --overwrite without --resume to begin anew"
"""What to do where the saved state is that of another scan."""

Entry = tuple[int, Choice, int]
"""Fold, choice and seed of a training."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found in a training."""

    samples: int
    """How many were trained on."""
    correct: Float[np.ndarray, " m"]
    """1 where the label of a held-out sample is predicted, 0 elsewhere; NaN where it cannot be read."""


class Tried:
    """Trainings by fold, choice and seed.

    Args:
        path: The file; None: they are kept in memory only.
        key: Only trainings of a scan with the same key are read.
        resume: Go on with the trainings in the file; otherwise it is deleted.
        progress: Shows what cannot be read or kept.

    Raises:
        RunError: With ``resume``, the file is of another scan.
    """

    def __init__(
        self, path: Path | None = None, key: str = "", *, resume: bool = False, progress: Progress = SILENT
    ) -> None:
        self._path = path
        self._key = key
        self._progress = progress
        self._failed = False
        self._known: dict[Entry, Outcome] = {}
        if path is None or not is_tried(path):
            return
        if not resume:
            path.unlink()
            return
        _, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if (read_record(path, _KIND) or {}).get("key") != key:
            raise RunError(
                "the unfinished scan is of another config, dataset, checkpoint or version of oga",
                place=str(path),
                hint=OTHER_SCAN,
            )
        # A process that was killed while it wrote has left a part of a line.
        rows = [row for row in map(_unsealed, lines) if row is not None]
        if len(rows) < len(lines):
            progress.warn(f"{path}: {len(lines) - len(rows)} damaged lines; these trainings are made again")
        for row in rows:
            entry = (row["fold"], Choice(row["action"], row["amount"]), row["seed"])
            self._known[entry] = Outcome(row["samples"], _unpacked(row["correct"]))

    def get(self, entry: Entry) -> Outcome | None:
        """What was found in a training; None where it was not made."""
        return self._known.get(entry)

    def add(self, entry: Entry, outcome: Outcome) -> None:
        """Keep what was found in a training; where it cannot be written, that is told once."""
        self._known[entry] = outcome
        if self._path is None:
            return
        fold, choice, seed = entry
        row: dict[str, Any] = {"fold": fold, "action": choice.action, "amount": choice.amount, "seed": seed}
        row |= {"samples": outcome.samples, "correct": _packed(outcome.correct)}
        try:
            self._append(self._path, _sealed(row))
        except (OSError, RunError) as error:
            if not self._failed:
                reason = getattr(error, "strerror", None) or str(error).replace("\n", ";")
                self._progress.warn(f"finished trainings cannot be kept in {self._path} ({reason})")
            self._failed = True

    def _append(self, path: Path, line: str) -> None:
        if not is_tried(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            header = json.dumps({"kind": _KIND, "key": self._key})
            with new_file(path, overwrite=False) as file:
                file.write(f"{header}\n".encode())
        with path.open("rb+") as file:
            # A line that was cut off by a full disk is ended first.
            file.seek(-1, os.SEEK_END)
            cut = file.read(1) != b"\n"
            file.write(("\n" * cut + line + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the file."""
        if self._path is not None and is_tried(self._path):
            self._path.unlink()


def is_tried(path: Path) -> bool:
    """Whether a place holds such a file."""
    return read_record(path, _KIND) is not None


def check_tried(path: Path) -> None:
    """Make sure that a place is free, or holds such a file.

    Raises:
        RunError: Something else is there.
    """
    if os.path.lexists(path) and not is_tried(path):
        raise RunError(
            "something else stands where the tried amounts are kept",
            place=str(path),
            expected="nothing, or a file that oga wrote",
            hint="move it away, or choose another output; it is left alone",
        )


def _sealed(row: dict[str, Any]) -> str:
    """A line with a checksum of its content."""
    content = json.dumps(row)
    return json.dumps({"checksum": zlib.crc32(content.encode()), "content": content})


def _unsealed(line: str) -> dict[str, Any] | None:
    """The content of a line; None where it is not what was written."""
    try:
        found = parse_json(line, "a training", RunError)
        content = found["content"]
        if zlib.crc32(content.encode()) != found["checksum"]:
            return None
        return dict(parse_json(content, "a training", RunError))
    except (RunError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _packed(correct: Float[np.ndarray, " m"]) -> str:
    """1 for right, 0 for wrong, 2 for samples that cannot be read."""
    return base64.b64encode(zlib.compress(np.nan_to_num(correct, nan=2).astype(np.uint8).tobytes())).decode()


def _unpacked(text: str) -> Float[np.ndarray, " m"]:
    found = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8).astype(float)
    found[found == 2] = np.nan
    return found
