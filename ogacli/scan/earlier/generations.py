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

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli.base.atomic import check_free, holds_only
from ogacli.base.documents.json_document import parse_json, read_record
from ogacli.base.documents.json_tensor import to_json
from ogacli.base.durable import settle, settle_names
from ogacli.base.workplace import NEW, workplace
from ogacli.errors import RunError

KIND = "oga unfinished scan"
_MARK = "oga.json"
_FILES = (_MARK, "state-*.safetensors")
_NAME = re.compile(r"state-(?:rank-(?P<rank>\d+)-)?(?P<number>\d{6})-(?P<checksum>[0-9a-f]{16})\.safetensors")
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
        rank: Of this process, among those that share the scan; each keeps states of its own there.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.rank = rank

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
        """Whether a state was saved, by whatever process."""
        return self.free and bool(self.ranks)

    @property
    def ranks(self) -> list[int]:
        """The processes that have saved a state."""
        return sorted({_rank(file) for file in self._every()})

    @property
    def saved(self) -> str:
        """When the last state was saved."""
        newest = max(file.stat().st_mtime for file in self._every())
        return f"{datetime.fromtimestamp(newest).astimezone():%Y-%m-%d %H:%M:%S %z}"

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
            self._make()
        older = list(self._files())
        number = 1 + max((_numbered(file) for file in older), default=0)
        saved = {_DOCUMENT: to_json(document), **_apart(tensors)}
        # Not in the folder itself: the library leaves a file of its own there when it is killed.
        with workplace(self.folder) as work:
            (work / NEW).mkdir()
            written = work / NEW / "state"
            save_file(saved, written)
            settle(written)
            own = f"rank-{self.rank}-" if self.rank else ""
            written.rename(self.folder / f"state-{own}{number:06d}-{_checksum(written)}.safetensors")
            settle_names(self.folder)
        for file in older[_KEPT - 1 :]:
            file.unlink(missing_ok=True)

    def _make(self) -> None:
        """Make the folder, unless another process that shares the scan makes it at the same time."""
        check_free(self.folder, overwrite=True, ours=lambda folder: self.free)
        with workplace(self.folder) as work:
            (work / NEW).mkdir()
            (work / NEW / _MARK).write_text(json.dumps({"kind": KIND}) + "\n", encoding="utf-8")
            settle(work / NEW)
            try:
                (work / NEW).rename(self.folder)
            except OSError:
                if not (self.folder / _MARK).is_file():
                    raise
            settle_names(self.folder.parent)

    def newest(self) -> State | None:
        """The newest state of this process that can be read; None where it has saved none.

        Raises:
            RunError: It has saved some, and none can be read.
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
        """The saved states of this process, the newest first."""
        found = [file for file in self._every() if _rank(file) == self.rank]
        yield from sorted(found, key=_numbered, reverse=True)

    def _every(self) -> list[Path]:
        """The saved states of all processes."""
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]


def _numbered(file: Path) -> int:
    return int(_parts(file)["number"])


def _rank(file: Path) -> int:
    return int(_parts(file)["rank"] or 0)


def _parts(file: Path) -> re.Match[str]:
    found = _NAME.fullmatch(file.name)
    assert found is not None
    return found


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """The document and the tensors in a file; None where it is not what was written."""
    try:
        if _checksum(file) != _parts(file)["checksum"]:
            return None
        tensors = load_file(file)
        text = tensors.pop(_DOCUMENT).numpy().tobytes()
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
