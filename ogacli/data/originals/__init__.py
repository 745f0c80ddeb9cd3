"""The rows of a dataset as the user wrote them: the files behind a source of samples.

In: the data section of a run, as plain values. Out: an ``Original``, whose files are read without torch, and
a ``Stamp`` that shows whether they are still the same. A source whose samples are rows of the user's own
files has one file here, named as the source; its samples are written back in the form of that file.
"""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from ogacli.base.limits import USUAL, Limits, refuse_raised
from ogacli.base.options import Location, Options
from ogacli.base.registry import Registry, resolve
from ogacli.errors import ConfigError, DataError

_CHUNK = 1 << 20
_LARGEST = 1 << 31
"""Bytes up to which a file is hashed: some seconds of reading."""


class Original(Options):
    """The files of a data section; it has those keys of the source that say where the rows and labels are."""

    model_config = ConfigDict(extra="ignore")

    manifest: Location | None = None
    """As in the source: an earlier manifest, whose relabelled samples have their new label."""
    flip: float | None = None
    """As in the source: labels of the samples are not those of the rows."""
    limits: Limits | None = None
    """As in the source."""

    @property
    def bounds(self) -> Limits:
        """The limits, with the usual ones where none are given."""
        return self.limits or USUAL

    @abstractmethod
    def files(self) -> Sequence[str]:
        """The files that hold the rows: local paths or URLs."""

    @property
    def has_inputs(self) -> bool:
        """Whether the inputs are in these files too, so that nothing else must be compared."""
        return True

    @property
    def own_format(self) -> str:
        """The name of the format in which the rows are written where the destination has no suffix."""
        return ""


originals: Registry[type[Original]] = Registry("ogacli.data.originals", "source with rows of its own")


def original_of(section: object, place: Path, *, trusted: bool = False) -> Original | None:
    """The original of a data section; None where its samples are not rows of the user's own files.

    Args:
        section: The section as plain values.
        place: The file with the section; relative paths are relative to its folder.
        trusted: The user has named it, so that it may raise the limits.

    Raises:
        ConfigError: A key has a wrong value.
        RunError: It raises a limit.
    """
    name = section.get("source") if isinstance(section, dict) else None
    if name not in originals:
        return None

    def where(key: Sequence[str | int]) -> str:
        return f"{place}: data.{'.'.join(map(str, key))}"

    found = resolve(originals, section, by="source", place=where, base=place.parent.absolute())
    if not trusted:
        refuse_raised(found.bounds, lambda name: where(("limits", name)))
    return found


# --- whether the files are the same ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stamp:
    """Names, sizes, times and, of a single file, the content of the files of a dataset."""

    files: str
    """A hash of the name, size and time of change of each file."""
    content: str | None
    """SHA-256 of the content where it is one file; it stays when the file is copied."""

    def plain(self) -> dict[str, str | None]:
        """As JSON."""
        return {"files": self.files, "content": self.content}


def stamp_of(section: object, place: Path) -> Stamp | None:
    """The stamp of the files of a data section; None where there are none, or not all are on this machine."""
    try:
        original = original_of(section, place, trusted=True)
        files = None if original is None or not original.has_inputs else original.files()
        listed = None if not files else _listed(files)
        if not files or listed is None:
            return None
        return Stamp(listed, _content(files[0]) if len(files) == 1 else None)
    except (OSError, ConfigError, DataError):
        return None


def is_unchanged(original: Original, scanned: Mapping[str, Any] | None) -> bool:
    """Whether the files are surely those that had the stamp; where not, the samples must be compared."""
    if not scanned:
        return False
    try:
        files = original.files()
        listed = _listed(files)
        if listed is not None and listed == scanned.get("files"):
            return True
        content = scanned.get("content")
        return len(files) == 1 and content is not None and _content(files[0]) == content
    except (OSError, DataError):
        return False


def _listed(files: Sequence[str]) -> str | None:
    if not files or any("://" in file for file in files):
        return None
    top = len(os.path.commonpath([os.path.dirname(file) for file in files]))
    digest = hashlib.sha256()
    for file in files:
        found = os.stat(file)
        digest.update(
            f"{file[top:]}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _content(file: str) -> str | None:
    if not os.path.isfile(file) or os.path.getsize(file) > _LARGEST:
        return None
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
