"""Refuse FIFOs, devices and sockets in place of files: opening one may wait for ever, or do something.

In: a path of the user. Out: nothing, or an error that names what stands there.
"""

import os
import re
import stat
from pathlib import Path

from ogacli.errors import OgaError

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_LOCAL = re.compile(r"^.*(?:file|local)://")
"""What fsspec may have before the path of a local file."""


def special(path: str | Path) -> str | None:
    """What stands at a local path instead of a file or folder, such as ``a FIFO``; links are followed.

    Returns:
        None for a file, a folder, nothing at all, or a URL.
    """
    local = _LOCAL.sub("", os.fspath(path))
    try:
        return None if "://" in local else _KINDS.get(stat.S_IFMT(os.stat(local).st_mode))
    except (OSError, ValueError):
        return None


def refuse_special(path: str | Path, error: type[OgaError]) -> None:
    """Check before a file is opened that it is none of these.

    Args:
        path: A path or URL; there may be nothing.
        error: The class of the error to raise.

    Raises:
        OgaError: An error of the class ``error``: a FIFO, a device or a socket stands there.
    """
    found = special(path)
    if found is not None:
        raise error(
            "no file, so it is not opened",
            place=str(path),
            found=found,
            expected="a file",
            hint="write its content to a file, and name that one",
        )


def refuse_special_in(folder: str | Path, error: type[OgaError]) -> None:
    """Check all that lies below a folder that a library will read; nothing where it is no folder.

    Raises:
        OgaError: An error of the class ``error``: something below it is a FIFO, a device or a socket.
    """
    waiting = [os.fspath(folder)] if os.path.isdir(folder) else []
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # the library raises its own error
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):  # known without a look at the file itself
                refuse_special(entry.path, error)
