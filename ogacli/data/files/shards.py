"""Tar files of samples in the format of webdataset: the place of each member.

In: tar files, local or through fsspec. Out: a ``Sample`` for each sequence of members whose names differ only
after the first dot. A tar file is walked through once; ``shard_files`` reads members by their place.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec

from ogacli.base.limits import USUAL, Limits, raise_limit
from ogacli.base.tables import opened
from ogacli.base.wording import cut, number
from ogacli.data.copies import Copies
from ogacli.data.files.listing import is_hidden
from ogacli.errors import DataError

_RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
_DIGITS, _SHOWN = 18, 200
_LARGEST_TEXT = 1 << 28
"""Bytes of a label or text, which is held in memory."""
_WILD = re.compile(r"[*?\[]")


@dataclass(slots=True)
class Sample:
    """The members of one sample."""

    shard: int
    key: str
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each kind of member the offset and the number of its bytes."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """The bytes of the members that were read during the walk."""


def is_pattern(path: str) -> bool:
    """Whether a name stands for several files; one that is the name of a file stands for that."""
    if "://" not in path and os.path.exists(path):
        return False
    return bool(_WILD.search(path) or _RANGE.search(path))


def shard_paths(pattern: str, limits: Limits = USUAL) -> list[str]:
    """The files that match ``train-{000..009}.tar`` or ``train-*.tar``, in order.

    Args:
        pattern: The pattern.
        limits: Of the number of files.

    Raises:
        DataError: There is none, or there are more than the limit.
    """
    _check_ranges(pattern, limits)
    paths = [pattern]
    while span := _RANGE.search(paths[0]):
        low, high = span.groups()
        numbers = [str(i).zfill(len(low)) for i in range(int(low), int(high) + 1)]
        paths = [_RANGE.sub(number, path, count=1) for path in paths for number in numbers]
    if not _WILD.search(pattern):
        return paths
    found = []
    for path in paths:
        try:
            fs, inner = fsspec.core.url_to_fs(path)
        except (OSError, ValueError, ImportError) as error:
            raise DataError("cannot be opened", place=pattern, found=str(error)) from None
        found += [fs.unstrip_protocol(name) if "://" in path else name for name in sorted(fs.glob(inner))]
    if not found:
        raise DataError("no shard of such a name", place=pattern, hint="check the path")
    return found


def _check_ranges(pattern: str, limits: Limits) -> None:
    """Check how many files the ranges in a pattern name, before they are listed.

    Raises:
        DataError: They name none, or more than the limit.
    """
    count = 1
    for low, high in _RANGE.findall(pattern):
        if max(len(low), len(high)) > _DIGITS or int(low) > int(high):
            raise DataError(
                "not a range of numbers",
                place=cut(pattern, _SHOWN),
                expected=f"such as {{000..009}}, ascending, of at most {_DIGITS} digits",
            )
        count *= int(high) - int(low) + 1
    if count > limits.files:
        raise DataError(
            "the pattern names more files than may be read",
            place=cut(pattern, _SHOWN),
            found=number(count),
            expected=f"at most {number(limits.files)}",
            hint=raise_limit("files", count),
        )


def short_names(paths: Sequence[str]) -> list[str]:
    """The paths of the shards without their common folders."""
    parts = [path.split("/") for path in paths]
    common = 0
    while all(len(part) > common + 1 and part[common] == parts[0][common] for part in parts):
        common += 1
    return ["/".join(part[common:]) for part in parts]


def read_shards(
    paths: Sequence[str], wanted: Callable[[str], bool], copies: Copies | None = None
) -> Iterator[Sample]:
    """The samples of some tar files, in order.

    Args:
        paths: The files.
        wanted: From the kind of a member to whether its bytes are read during the walk.
        copies: Takes copies of remote files, whose other members will be read later.

    Raises:
        DataError: A file cannot be opened, is no tar file, is packed, or ends early; or a name occurs twice
            in it.
    """
    for i, path in enumerate(paths):
        with opened_shard(path, copies) as file:
            current: Sample | None = None
            for key, kind, member in shard_members(file, path):
                if current is None or key != current.key:
                    if current is not None:
                        yield current
                    current = Sample(i, key)
                current.spans[kind] = (member.offset_data, member.size)
                if wanted(kind):
                    current.texts[kind] = _bytes(file, member, path)
            if current is not None:
                yield current


@contextmanager
def opened_shard(path: str, copies: Copies | None = None) -> Iterator[_Within]:
    """An open tar file, of which no more bytes can be asked for than it has.

    Args:
        path: The file.
        copies: Takes a copy of a remote file, which is read in its place.

    Raises:
        DataError: It cannot be opened, or is packed.
    """
    with opened(path) as raw:
        file = _Within(raw if copies is None or "://" not in path else copies.of(path, raw))
        if file.read(2) == b"\x1f\x8b":
            raise DataError(
                "samples cannot be picked out of a packed shard", place=path, hint="unpack it: gunzip"
            )
        file.seek(0)
        yield file


def shard_members(file: _Within, path: str) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """The key, the kind and the header of each member of an open shard, in order.

    Raises:
        DataError: It is no tar file, or ends early; or a name occurs twice in it.
    """
    current: str | None = None
    whole = 0
    before: set[str] = set()
    kinds: set[str] = set()
    readable: Any = file  # to tarfile's annotations it would have to be writable, too
    try:
        with tarfile.open(fileobj=readable, mode="r:") as tar:
            for member in _members(tar, path):
                key, kind = _split(member.name)
                if key != current:
                    if current is not None:
                        whole += 1
                        before.add(current)
                    current = key
                    kinds.clear()
                if kind in kinds or key in before:
                    raise _repeated(path, member.name, apart=key in before)
                if member.offset_data + member.size > file.end:
                    raise EOFError("unexpected end")
                kinds.add(kind)
                yield key, kind, member
            _check_end(file, tar.offset)
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(
            "the shard ends early, or is no tar file",
            place=path,
            found=f"{whole:,} whole samples"
            + (f"; {current!r} may be cut off" if current is not None else "")
            + f" ({error})",
            hint="fetch it again, or leave it out of `path`",
        ) from None


def _members(tar: tarfile.TarFile, path: str) -> Iterator[tarfile.TarInfo]:
    """The files, one after the other; the list of all members that ``tarfile`` keeps is emptied.

    Raises:
        DataError: A member is a link, FIFO or device.
        tarfile.ReadError: A member has a size below 0 or a hole in it; following it might never end.
    """
    while (member := tar.next()) is not None:
        if member.size < 0 or tar.offset <= member.offset or member.sparse is not None:
            raise tarfile.ReadError(f"{member.name!r} has holes, or a size of {member.size}")
        if not any(map(is_hidden, member.name.split("/"))):
            if member.isfile():
                yield member
            elif not member.isdir():
                raise _no_file(path, member)
        tar.members.clear()  # type: ignore[attr-defined]


class _Within:
    """An open file that is never asked for more bytes than it has, which Python would make room for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.end: int = file.seek(0, os.SEEK_END)
        self.tell = file.tell
        self.seek = file.seek
        self.seek(0)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes."""
        if size < 0:
            raise EOFError(f"a size of {size} bytes")
        found: bytes = self._file.read(max(0, min(size, self.end - self.tell())))
        return found


def _no_file(path: str, member: tarfile.TarInfo) -> DataError:
    linked = member.islnk() or member.issym()
    return DataError(
        "a member of the shard is no file",
        place=f"{path}: {member.name}",
        found=f"a link to {member.linkname}" if linked else "a FIFO or device",
        expected="files alone",
        hint="pack it anew with the content of the files: tar --hard-dereference --dereference",
    )


def _repeated(path: str, name: str, *, apart: bool) -> DataError:
    """The error for a name that occurs twice.

    Args:
        path: The shard.
        name: The member.
        apart: Whether members of other samples are in between.
    """
    return DataError(
        "a sample's files do not follow one another, or two samples have one name"
        if apart
        else "a file name occurs twice in the shard",
        place=f"{path}: {name}",
        expected="for each sample a name of its own up to the first dot, and its files in sequence",
        hint="number the samples when the shard is written, such as 000017.jpg and 000017.cls",
    )


def _bytes(file: _Within, member: tarfile.TarInfo, path: str) -> bytes:
    """The bytes of a member.

    Raises:
        DataError: There are too many.
    """
    if member.size > _LARGEST_TEXT:
        raise DataError(
            "too long for a label or a text",
            place=f"{path}: {member.name}",
            found=f"{member.size:,} bytes",
            expected=f"at most {_LARGEST_TEXT:,}",
        )
    file.seek(member.offset_data)
    found: bytes = file.read(member.size)
    return found


def _check_end(file: _Within, offset: int) -> None:
    """Check that a block of zeros follows the last member, as in every complete tar file.

    Raises:
        EOFError: There is none.
    """
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("no end mark")


def _split(name: str) -> tuple[str, str]:
    """``a/b.seg.png`` -> ``a/b`` and ``seg.png``."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, kind = file.partition(".")
    return folder + slash + stem, kind.lower()
