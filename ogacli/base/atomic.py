"""Files and folders that are written completely or not at all.

Content is written under a temporary name beside the destination and renamed when it is complete. An older
version at the destination is removed only after that.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from ogacli.base.wording import listed
from ogacli.errors import RunError


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
    if destination.is_symlink():
        raise RunError(
            "a link stands there",
            place=str(destination),
            found=f"a link to {os.readlink(destination)}",
            hint="name the folder that it leads to, or choose another folder; the link is left alone",
        )
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
        RunError: As in :func:`check_free`, or the folder cannot be created.
    """
    check_free(destination, overwrite=overwrite, ours=ours)
    with _writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        work.chmod(0o755)
        yield work
        check_free(destination, overwrite=overwrite, ours=ours)  # the block may have taken hours
        with _writing(destination):
            _put(work, destination)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put(work: Path, destination: Path) -> None:
    """Rename ``work`` to ``destination``; where that fails, restore the older folder there."""
    if not destination.is_dir():
        work.rename(destination)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{destination.name}-old-", dir=destination.parent))
    try:
        destination.rename(aside / "old")
        work.rename(destination)
    except BaseException:
        if not os.path.lexists(destination):
            (aside / "old").rename(destination)
        raise
    finally:
        if os.path.lexists(destination):
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def new_file(destination: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """An open binary file that becomes ``destination`` when the block ends without an error.

    Raises:
        RunError: It exists and ``overwrite`` is off, or it cannot be written.
    """
    if destination.is_dir():
        raise RunError("a folder stands there", place=str(destination), hint="choose another name")
    if os.path.lexists(destination) and not overwrite:
        raise RunError(
            "already exists", place=str(destination), hint="add --overwrite, or choose another name"
        )
    with _writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{destination.name}-", dir=destination.parent)
    work = Path(name)
    try:
        with _writing(destination):
            with os.fdopen(handle, "wb") as file:
                yield file
            work.chmod(0o644)
            work.replace(destination)
    finally:
        work.unlink(missing_ok=True)


@contextmanager
def _writing(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            "cannot be written", place=str(destination), found=error.strerror or str(error)
        ) from None
