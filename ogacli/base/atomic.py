"""Files and folders that are written completely or not at all.

Content is written in a hidden folder beside the destination, waited for until it is on the disk, and renamed
when it is complete. An older version at the destination is removed only after that.
"""

import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from ogacli.base.durable import exchanged, settle, settle_names
from ogacli.base.special_files import refuse_special
from ogacli.base.wording import listed
from ogacli.base.workplace import NEW, OLD, workplace
from ogacli.errors import RunError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""No room, a quota, a limit on the size of files, a disk that may only be read."""
_ROOM = "make room on the disk, or choose another place; what stood there is unchanged"


def check_free(destination: Path, *, overwrite: bool, ours: Callable[[Path], bool]) -> None:
    """Check that a folder may be written, before any work is done.

    Args:
        destination: The folder that will be written.
        overwrite: Whether a folder that oga wrote may be replaced.
        ours: Whether an existing folder was written by oga.

    Raises:
        RunError: The destination is a link, a file or another folder; or ``overwrite`` is off and it is a
            folder that oga wrote.
    """
    refuse_link(destination)
    if not os.path.lexists(destination) or (destination.is_dir() and not any(destination.iterdir())):
        return
    if not destination.is_dir() or not ours(destination):
        raise RunError(
            "something else stands there",
            place=str(destination),
            found=_holding(destination),
            expected="a new folder, or one that oga wrote, with nothing else in it",
            hint="choose another folder, or move what is yours out of it; it is left alone",
        )
    if not overwrite:
        raise RunError(
            "already exists", place=str(destination), hint="add --overwrite, or choose another folder"
        )


def holds_only(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder, itself no link, holds only plain files of these names.

    Args:
        folder: The folder.
        names: Names or patterns, such as ``epoch-*.safetensors``.
    """
    if folder.is_symlink() or not folder.is_dir():
        return False
    return all(
        path.is_file() and not path.is_symlink() and any(fnmatchcase(path.name, name) for name in names)
        for path in folder.iterdir()
    )


def _holding(place: Path) -> str:
    if not place.is_dir():
        return "a file"
    names = sorted(path.name for path in place.iterdir())
    return f"a folder with {listed(names, 12)}"


@contextmanager
def new_folder(destination: Path, *, overwrite: bool, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary folder that becomes ``destination`` when the block ends without an error.

    Raises:
        RunError: As in :func:`check_free`; or the folder cannot be created, or the disk is full.
    """
    check_free(destination, overwrite=overwrite, ours=ours)
    with writing(destination, only=_FULL), ExitStack() as stack:
        with writing(destination):
            work = stack.enter_context(workplace(destination))
            (work / NEW).mkdir()
        yield work / NEW
        check_free(destination, overwrite=overwrite, ours=ours)  # the block may have taken hours
        with writing(destination):
            settle(work / NEW)
            _put(work, destination)
            settle_names(destination.parent)


def _put(work: Path, destination: Path) -> None:
    """Put what was written at ``destination``; where that fails, the older folder stays there.

    Where the system cannot exchange two folders in one step, there is none for a moment; a process that is
    killed then leaves it in ``work``, from where the next one puts it back.
    """
    if not destination.is_dir():
        (work / NEW).rename(destination)
        return
    if exchanged(work / NEW, destination):
        return
    try:
        destination.rename(work / OLD)
        (work / NEW).rename(destination)
    except BaseException:
        if not os.path.lexists(destination):
            (work / OLD).rename(destination)
        raise


@contextmanager
def new_file(destination: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """An open binary file that becomes ``destination`` when the block ends without an error.

    Raises:
        RunError: It exists and ``overwrite`` is off, it is a link or a folder, or it cannot be written.
    """
    refuse_link(destination)
    if destination.is_dir():
        raise RunError("a folder stands there", place=str(destination), hint="choose another name")
    refuse_special(destination, RunError)
    if os.path.lexists(destination) and not overwrite:
        raise RunError(
            "already exists", place=str(destination), hint="add --overwrite, or choose another name"
        )
    with writing(destination), workplace(destination) as work:
        with (work / NEW).open("wb") as file:
            yield file
        settle(work / NEW)
        (work / NEW).replace(destination)
        settle_names(destination.parent)


@contextmanager
def writing(destination: Path, *, only: Collection[int] | None = None) -> Iterator[None]:
    """Within the block, an error of the operating system becomes a ``RunError`` that names the destination.

    Args:
        destination: What is written.
        only: The numbers of the errors that are meant; all where left out.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise RunError(
            "cannot be written",
            place=str(destination),
            found=error.strerror or str(error),
            hint=_ROOM if error.errno in _FULL else None,
        ) from None


def refuse_link(destination: Path) -> None:
    """Check that no link stands where something will be written.

    Raises:
        RunError: One does.
    """
    if destination.is_symlink():
        raise RunError(
            "a link stands there",
            place=str(destination),
            found=f"a link to {os.readlink(destination)}",
            hint="name the folder or file that it leads to, or choose another place; the link is left alone",
        )
