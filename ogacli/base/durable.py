"""Files that survive a power failure, and two folders that change places in one step.

In: paths. Out: what lies there is on the disk, or has changed places. Systems without these calls do what
they can.
"""

import ctypes
import errno
import os
import sys
from pathlib import Path

_MANY = 64
"""From so many files on, one ``sync`` of the whole system is faster than one ``fsync`` a file."""
_IN_FOLDER = -100 if sys.platform == "linux" else -2
"""AT_FDCWD: relative paths start at the current folder."""
_SWAP = 2
"""RENAME_EXCHANGE of Linux, and RENAME_SWAP of macOS."""


def settle(path: Path) -> None:
    """Wait until a file, or a folder with everything below it, is on the disk.

    Raises:
        OSError: The disk reports that it could not be written.
    """
    if not path.is_dir():
        _settle(path)
        return
    files, folders = [], [path]
    for place, below, names in os.walk(path):
        files += [Path(place, name) for name in names]
        folders += [Path(place, name) for name in below]
    if len(files) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for one in (*files, *reversed(folders)):
        settle_names(one) if one.is_dir() else _settle(one)


def settle_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, after a rename there; not possible on Windows."""
    if sys.platform != "win32":
        _settle(folder)


def _settle(path: Path) -> None:
    if path.is_symlink():
        return
    # Windows flushes only what is open for writing.
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):  # not offered by this file system
            raise
    finally:
        os.close(handle)


def exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, so that each name always leads to one of them.

    Returns:
        False where system or file system cannot do so; nothing has changed then.
    """
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            code = library.renameat2(_IN_FOLDER, names[0], _IN_FOLDER, names[1], ctypes.c_uint(_SWAP))
        else:
            code = library.renamex_np(*names, ctypes.c_uint(_SWAP))
    except AttributeError:  # an older C library
        return False
    return bool(code == 0)
