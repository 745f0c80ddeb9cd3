"""The hidden folder beside a destination in which its next version is written.

In: a destination. Out: ``.NAME-xxxxxxxx`` beside it, on the same disk, which bears a mark: what it is for,
and the process that made it. What a killed process left is removed by the next one that writes the same
destination, if it bears that mark.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ogacli.base.documents.json_document import read_record
from ogacli.base.processes.process import Process

NEW, OLD = "new", "old"
"""The names in it: of what is written, and of the earlier version while the two change places."""
_OWNER = "owner.json"
_KIND = "oga work in progress"
_NAME = 120
"""Bytes of the destination's name that are repeated, as names may not be longer than 255."""
_HOUR = 3600.0
"""After so many seconds an empty folder counts as left over."""
_WEEK = 7 * 24 * 3600.0
"""After so many seconds a folder of a process on another machine counts as left over."""


@contextmanager
def workplace(destination: Path) -> Iterator[Path]:
    """A new hidden folder beside a destination; it is removed after the block.

    An earlier version in it (``OLD``) stays while nothing stands at the destination.

    Raises:
        OSError: It cannot be made.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    clear(destination)
    work = Path(tempfile.mkdtemp(prefix=_prefix(destination), dir=destination.parent))
    try:
        mark = {"kind": _KIND, "of": destination.name, "process": Process.own().plain()}
        (work / _OWNER).write_text(json.dumps(mark), encoding="utf-8")
        yield work
    finally:
        if os.path.lexists(destination) or not (work / OLD).exists():
            shutil.rmtree(work, ignore_errors=True)


def clear(destination: Path) -> None:
    """Remove what killed processes left beside a destination, and put back what they had moved away."""
    prefix = _prefix(destination)
    try:
        names = [name for name in os.listdir(destination.parent) if name.startswith(prefix)]
    except OSError:
        return
    for left in sorted(destination.with_name(name) for name in names):
        if not _left_over(left, destination):
            continue
        if (left / OLD).exists() and not os.path.lexists(destination):
            (left / OLD).rename(destination)
        shutil.rmtree(left, ignore_errors=True)


def replacing(destination: Path) -> bool:
    """Whether some process is writing a destination; what it writes may bear the mark or not."""
    try:
        return any(name.startswith(_prefix(destination)) for name in os.listdir(destination.parent))
    except OSError:
        return False


def _left_over(folder: Path, destination: Path) -> bool:
    """Whether a folder was made for a destination by a process that has ended, and holds nothing else."""
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        names = {path.name for path in folder.iterdir()}
        if not names:  # the process was killed before it wrote its mark; nothing can be lost
            return time.time() - folder.stat().st_mtime > _HOUR
        if not names <= {_OWNER, NEW, OLD}:
            return False
        mark = read_record(folder / _OWNER, _KIND)
        if mark is None or mark.get("of") != destination.name:
            return False
        process = Process.of(mark.get("process"))
        runs = None if process is None else process.runs()
        return time.time() - folder.stat().st_mtime > _WEEK if runs is None else not runs
    except OSError:
        return False


def _prefix(destination: Path) -> str:
    name = os.fsdecode(os.fsencode(destination.name)[:_NAME].decode("utf-8", "ignore").encode())
    return f".{name}-"
