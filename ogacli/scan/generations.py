"""The last two states of an unfinished scan on disk: the older one is there should the newer one be damaged.

In: named tensors and a document. Out: the same, or nothing. A state is one file,
``state-000007-<checksum>``, written in another folder, waited for until it is on the disk, and moved there.
The folder bears a mark; one that holds anything else is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli.base.atomic import holds_only, new_folder
from ogacli.base.durable import settle, settle_names
from ogacli.base.json_document import parse_json, read_record
from ogacli.base.workplace import NEW, workplace
from ogacli.errors import RunError

KIND = "oga unfinished scan"
_MARK = "oga.json"
_FILES = (_MARK, "state-*.safetensors")
_NAME = re.compile(r"state-(\d{6})-([0-9a-f]{16})\.safetensors")
_DOCUMENT = "document"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class State:
    """What was saved."""

    document: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    damaged: tuple[str, ...]
    """The names of newer files that cannot be read."""


class Generations:
    """The saved states in one folder.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def free(self) -> bool:
        """Whether states may be kept there: nothing is there, or only what this module wrote."""
        if not os.path.lexists(self.folder):
            return True
        if not holds_only(self.folder, _FILES):
            return False
        if not any(self.folder.iterdir()):
            return True
        return read_record(self.folder / _MARK, KIND) is not None

    @property
    def exists(self) -> bool:
        """Whether a state was saved."""
        return self.free and any(True for _ in self._files())

    @property
    def saved(self) -> str:
        """When the last state was saved."""
        newest = next(self._files())
        return f"{datetime.fromtimestamp(newest.stat().st_mtime).astimezone():%Y-%m-%d %H:%M:%S %z}"

    def write(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
        """Add a state, and delete those before the one before it.

        Args:
            tensors: By name; on any device.
            document: As JSON.

        Raises:
            OSError: It cannot be written.
            SafetensorError: The same.
            RunError: The same, or something else stands there.
        """
        if not (self.folder / _MARK).is_file():
            with new_folder(self.folder, overwrite=True, ours=lambda folder: self.free) as work:
                (work / _MARK).write_text(json.dumps({"kind": KIND}) + "\n", encoding="utf-8")
        older = list(self._files())
        number = 1 + max((_numbered(file) for file in older), default=0)
        text = json.dumps(document).encode()
        saved = {_DOCUMENT: torch.frombuffer(bytearray(text), dtype=torch.uint8), **_apart(tensors)}
        # Not in the folder itself: the library leaves a file of its own there when it is killed.
        with workplace(self.folder) as work:
            (work / NEW).mkdir()
            written = work / NEW / "state"
            save_file(saved, written)
            settle(written)
            written.rename(self.folder / f"state-{number:06d}-{_checksum(written)}.safetensors")
            settle_names(self.folder)
        for file in older[_KEPT - 1 :]:
            file.unlink(missing_ok=True)

    def newest(self) -> State | None:
        """The newest state that can be read; None where none was saved.

        Raises:
            RunError: States were saved, and none can be read.
        """
        damaged: list[str] = []
        for file in self._files():
            found = _read(file)
            if found is not None:
                return State(*found, tuple(damaged))
            damaged.append(file.name)
        if damaged:
            raise RunError(
                "the unfinished scan is damaged",
                place=str(self.folder),
                found=f"checksums that differ: {', '.join(damaged)}",
                hint="--overwrite begins anew",
            )
        return None

    def remove(self) -> None:
        """Delete the folder; it is never there in part."""
        if os.path.lexists(self.folder) and self.free:
            with workplace(self.folder) as work:
                self.folder.rename(work / NEW)

    def _files(self) -> Iterator[Path]:
        """The saved states, the newest first."""
        if not self.folder.is_dir():
            return
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        yield from sorted(found, key=_numbered, reverse=True)


def _numbered(file: Path) -> int:
    return int(file.name.split("-")[1])


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """The document and the tensors in a file; None where it is not what was written."""
    try:
        named = _NAME.fullmatch(file.name)
        if named is None or _checksum(file) != named[2]:
            return None
        tensors = load_file(file)
        text = bytes(tensors.pop(_DOCUMENT).tolist())
        return parse_json(text, str(file), RunError, finite=False), tensors
    except (OSError, SafetensorError, KeyError, RunError):
        return None


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous, each in memory of its own, which the format demands."""
    found, known = {}, set()
    for name, tensor in tensors.items():
        one = tensor.cpu().contiguous()
        place = one.untyped_storage().data_ptr()
        found[name] = one.clone() if place in known else one
        known.add(place)
    return found
