"""Tar files of samples, as webdataset writes them: which member lies where, and its bytes.

In: the tar files, local or through fsspec. Out: a ``Sample`` for each run of members whose names differ in
nothing but what follows the first dot, and ``Shards``, which reads members by their place. A tar is walked
through once; nothing stays open after.
"""

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ogacli.base.tables import opened
from ogacli.data.files import Content, contents
from ogacli.data.samples import Unreadable
from ogacli.errors import DataError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_WILD = re.compile(r"[*?\[]")


@dataclass(slots=True)
class Sample:
    """The members of one sample."""

    shard: int
    key: str
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where the bytes of each kind of member begin, and how many they are."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """The bytes of the members that were to be read at once."""


def shard_paths(pattern: str) -> list[str]:
    """The files that ``train-{000..009}.tar`` or ``train-*.tar`` stands for, in order.

    Raises:
        DataError: There is none.
    """
    paths = [pattern]
    while span := _RANGE.search(paths[0]):
        low, high = span.groups()
        numbers = [str(i).zfill(len(low)) for i in range(int(low), int(high) + 1)]
        paths = [_RANGE.sub(number, path, count=1) for path in paths for number in numbers]
    if not _WILD.search(pattern):
        return paths
    found = []
    for path in paths:
        fs, inner = fsspec.core.url_to_fs(path)
        found += [fs.unstrip_protocol(name) if "://" in path else name for name in sorted(fs.glob(inner))]
    if not found:
        raise DataError("no shard of such a name", place=pattern, hint="check the path")
    return found


def read_shards(paths: Sequence[str], wanted: Callable[[str], bool]) -> Iterator[Sample]:
    """The samples of some tar files, in order.

    Args:
        paths: The files.
        wanted: Tells by the kind of a member whether its bytes are to be read at once.

    Raises:
        DataError: A file cannot be opened, is no tar file, is packed, or ends early.
    """
    for number, path in enumerate(paths):
        with opened(path) as file:
            if file.read(2) == b"\x1f\x8b":
                raise DataError(
                    "samples cannot be picked out of a packed shard", place=path, hint="unpack it: gunzip"
                )
            file.seek(0)
            yield from _walk(file, path, number, wanted)


def _walk(file: Any, path: str, number: int, wanted: Callable[[str], bool]) -> Iterator[Sample]:
    current: Sample | None = None
    whole = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in _members(tar):
                key, kind = _split(member.name)
                if current is None or key != current.key:
                    if current is not None:
                        yield current
                        whole += 1
                    current = Sample(number, key)
                current.spans[kind] = (member.offset_data, member.size)
                if wanted(kind):
                    current.texts[kind] = _bytes(file, member)
            _check_end(file, tar.offset)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            "the shard ends early, or is no tar file",
            place=path,
            found=f"{whole:,} whole samples"
            + (f"; {current.key!r} may be cut off" if current else "")
            + f" ({error})",
            hint="fetch it again, or leave it out of `path`",
        ) from None
    if current is not None:
        yield current


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The files, one after the other; the archive itself would remember them all."""
    while (member := tar.next()) is not None:
        if member.isfile() and not member.name.rpartition("/")[2].startswith("."):
            yield member
        tar.members.clear()  # type: ignore[attr-defined]


def _bytes(file: Any, member: tarfile.TarInfo) -> bytes:
    """What a member holds.

    Raises:
        EOFError: The file ends before.
    """
    file.seek(member.offset_data)
    found: bytes = file.read(member.size)
    if len(found) < member.size:
        raise EOFError("unexpected end")
    return found


def _check_end(file: Any, offset: int) -> None:
    """A whole tar file ends with a block of zeros after its last member.

    Raises:
        EOFError: It does not.
    """
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("no end mark")


def _split(name: str) -> tuple[str, str]:
    """``a/b.seg.png`` -> ``a/b`` and ``seg.png``."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, kind = file.partition(".")
    return folder + slash + stem, kind.lower()


class Shards:
    """One member of each sample, as files that are named by their row."""

    def __init__(self, paths: Sequence[str], places: Int64[np.ndarray, "n 3"]) -> None:
        """Take the places.

        Args:
            paths: The tar files.
            places: Which tar file, where in it, how many bytes; -1 where the sample has no such member.
        """
        self.paths = list(paths)
        self.places = places

    def names(self) -> list[str]:
        """The rows."""
        return [str(row) for row in range(len(self.places))]

    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """One read a member; behind URLs all of them at once."""
        places = [tuple(self.places[int(name)].tolist()) for name in names]
        chunks = iter(self._read([place for place in places if place[1] >= 0]))
        for _, start, size in places:
            found = next(chunks) if start >= 0 else Unreadable("no such file in the sample")
            short = isinstance(found, bytes) and len(found) < size
            yield Unreadable("the shard ends early") if short else found

    def signature(self, names: pa.StringArray) -> str:
        """Over the names of the shards, and where each member lies."""
        digest = hashlib.sha256(np.ascontiguousarray(self.places).tobytes())
        digest.update("\0".join(path.rpartition("/")[2] for path in self.paths).encode())
        return digest.hexdigest()

    def path(self, name: str) -> Path | None:
        """Members of a tar file are no files of their own."""
        return None

    def _read(self, places: Sequence[tuple[int, int, int]]) -> Iterator[Content]:
        if places and "://" in self.paths[0]:
            fs, _ = fsspec.core.url_to_fs(self.paths[0])
            where = [fs._strip_protocol(self.paths[shard]) for shard, _, _ in places]
            starts, ends = [start for _, start, _ in places], [start + size for _, start, size in places]
            yield from contents(fs.cat_ranges(where, starts, ends, on_error="return"))
            return
        for shard, start, size in places:
            try:
                with open(self.paths[shard], "rb", buffering=0) as file:
                    file.seek(start)
                    yield file.read(size)
            except OSError as error:
                yield Unreadable((error.strerror or str(error)).lower())
