"""The files of a run directory, opened together, so that all of them are of one run.

In: the folder. Out: a path for each file that leads to it even after the folder was replaced by a later scan.
Where the system has no such paths (Windows), files are read by their names.
"""

from __future__ import annotations

import os
import stat
import sys
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path

from ogacli.base.workplace import replacing

_OPEN = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
"""Where open files have paths."""
_MOST = 400
"""No files are held from this handle on, as processes may often have no more than 1,024."""
_TRIES, _PAUSE = 200, 0.01
"""While a folder is replaced, it is looked for again so often; seconds between."""


class HeldFiles:
    """Open files by name; they are closed when this object goes.

    Args:
        handles: Of files that are open for reading.
    """

    def __init__(self, handles: Mapping[str, int] | None = None) -> None:
        self._handles = dict(handles or {})
        weakref.finalize(self, _close, tuple(self._handles.values()))

    def __reduce__(self) -> tuple[type[HeldFiles], tuple[()]]:
        """In another process none are open."""
        return HeldFiles, ()

    def place(self, file: Path) -> Path:
        """From where a file is read: by its handle, or by its own path where it is not held."""
        handle = self._handles.get(file.name)
        if handle is None:
            return file
        os.lseek(handle, 0, os.SEEK_SET)  # on some systems the path shares the position of the handle
        return _OPEN / str(handle)


def hold(folder: Path, names: Iterable[str]) -> HeldFiles:
    """Open those files of a folder that are there, all of the same folder.

    Args:
        folder: It may be replaced meanwhile.
        names: Of plain files; others are left out.
    """
    names = tuple(names)
    for _ in range(_TRIES if _OPEN.is_dir() and sys.platform != "win32" else 0):
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            if not replacing(folder):
                break
            time.sleep(_PAUSE)  # between two renames, where folders cannot be exchanged in one step
            continue
        try:
            handles = _opened(place, names)
            if handles is None:
                break
            if _is(folder, place):
                return HeldFiles(handles)
            _close(tuple(handles.values()))
        finally:
            os.close(place)
    return HeldFiles()


def _opened(place: int, names: Iterable[str]) -> dict[str, int] | None:
    """Handles of the plain files of these names in an open folder; None where there are too many."""
    found: dict[str, int] = {}
    for name in names:
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
        except OSError:
            continue
        if handle >= _MOST:
            _close((handle, *found.values()))
            return None
        if stat.S_ISREG(os.fstat(handle).st_mode):
            found[name] = handle
        else:
            os.close(handle)
    return found


def _is(folder: Path, place: int) -> bool:
    """Whether a path still leads to an open folder."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(place))
    except OSError:
        return False


def _close(handles: tuple[int, ...]) -> None:
    for handle in handles:
        os.close(handle)
