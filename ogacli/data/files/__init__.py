"""Files by name in a folder, a zip archive, or any place that fsspec reaches.

In: a root and names relative to it. Out: the bytes of the files, a batch at a time. No file stays open
between two batches, so a ``Files`` can be pickled, and used by several forked processes at the same time.
"""

import hashlib
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from ogacli.base.limits import USUAL, Limits
from ogacli.base.special_files import refuse_special, special
from ogacli.base.wording import listed
from ogacli.data.files.listing import Listing, list_folder
from ogacli.data.files.zip_directory import DAMAGED, NO_FILE, read_directory
from ogacli.data.ids import joined
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

_MANY = 16
Content = bytes | Unreadable
"""The bytes of a file, or the reason why it cannot be read."""


class Files(ABC):
    """Files by name."""

    @abstractmethod
    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """The content of each file, in order."""

    @abstractmethod
    def signature(self, names: pa.StringArray) -> str:
        """A hash of what is known of the files without reading them, such as names and sizes."""

    def path(self, name: str) -> Path | None:
        """The path of the file on this machine; None where it is a member of an archive or remote."""
        return None


class Tree(Files):
    """Files below one root."""

    @abstractmethod
    def listing(self) -> Listing:
        """All names below the root."""

    def names(self) -> list[str]:
        """Those that may be samples, and their folders; a folder's own name ends in ``/``."""
        return self.listing().names


def open_files(root: str, limits: Limits = USUAL) -> Tree:
    """The files below a folder or URL, or in a zip archive.

    ``photos.zip/train`` is the folder ``train`` in the archive ``photos.zip``.

    Args:
        root: The folder, URL or archive.
        limits: Of what an archive may hold.

    Raises:
        DataError: There is no such folder, or the archive cannot be read or would unpack to too much.
    """
    archive, folder = _split_archive(root)
    if archive is not None:
        return Archive(archive, folder, limits)
    if "://" in root:
        return Bucket(root)
    if not os.path.isdir(root):
        what = "not a folder or zip archive" if os.path.exists(root) else "no such folder or archive"
        raise DataError(what, place=root, hint="check the path")
    return Folder(Path(root))


def _split_archive(root: str) -> tuple[str | None, str]:
    """``a/b.zip/c`` -> the archive and the folder in it."""
    if "::" in root:
        return None, ""
    head, suffix, tail = root.partition(".zip/")
    if suffix and not ("://" not in root and os.path.isdir(head + ".zip")):
        return head + ".zip", tail.strip("/")
    if root.endswith(".zip") and not ("://" not in root and os.path.isdir(root)):
        return root, ""
    return None, ""


class Folder(Tree):
    """Files in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def listing(self) -> Listing:
        """All files and folders below the root; links are followed within it."""
        return list_folder(self.root)

    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """Read one file after the other."""
        for name in names:
            if (what := special(self.root / name)) is not None:
                yield Unreadable(f"{what}, no file")
                continue
            try:
                yield (self.root / name).read_bytes()
            except (OSError, ValueError) as error:
                yield _reason(error)

    def signature(self, names: pa.StringArray) -> str:
        """A hash of names and sizes."""
        sizes = []
        for name in names.to_pylist():
            try:
                sizes.append(os.stat(self.root / name).st_size)
            except (OSError, ValueError):
                sizes.append(-1)
        return _signature(names, sizes)

    def path(self, name: str) -> Path | None:
        """The path below the root."""
        return self.root / name


class Archive(Tree):
    """Files in a zip archive, local or at a URL.

    The directory of the archive is kept as flat arrays, sorted by name. They take a few dozen bytes a file;
    ``zipfile`` would take half a kilobyte in every worker process.
    """

    def __init__(self, location: str, folder: str = "", limits: Limits = USUAL) -> None:
        self.location = location
        self.folder = f"{folder}/" if folder else ""
        refuse_special(location, DataError)
        try:
            with fsspec.open(location, "rb") as file:
                directory = read_directory(file).whole()
        except FileNotFoundError:
            raise DataError("no such archive", place=location, hint="check the path") from None
        except (zipfile.BadZipFile, OSError, ValueError, ImportError) as error:
            raise DataError("cannot be read as a zip archive", place=location, found=str(error)) from None
        limits.check_unpacked(directory.unpacked, directory.packed, location, DataError)
        if not len(directory.names):
            raise DataError("the archive is empty", place=location)
        self._names, self._entries = directory.names, directory.entries
        self._check_names()

    def _check_names(self) -> None:
        """Check that no name occurs twice, as only one of such members could be read.

        Raises:
            DataError: One does.
        """
        repeated = pc.unique(self._names[1:].filter(pc.equal(self._names[1:], self._names[:-1]))).to_pylist()
        names = [name.decode(errors="replace") for name in repeated if not name.endswith(b"/")]
        if names:
            raise DataError(
                "a name occurs more than once in the archive",
                place=f"{self.location}: {names[0]}",
                found=f"{len(names)} such names: {listed(names, 5)}" if len(names) > 1 else None,
                expected="a name of its own for each member",
                hint="unpack it and pack it anew; the member that was added last replaces the others then",
            )

    def listing(self) -> Listing:
        """All members below the folder."""
        below = self._names.filter(within := pc.starts_with(self._names, self.folder.encode()))
        no_file = self._entries[np.asarray(within), 4] == NO_FILE
        names: list[str] = []
        odd: list[str] = []
        garbled: list[str] = []
        for name, strange in zip(below.to_pylist(), no_file, strict=True):
            text = name.decode(errors="replace")
            known = text.encode() == name
            (names if known else garbled).append(text.removeprefix(self.folder))
            if known and strange:
                odd.append(names[-1])
        return Listing.of((name for name in names if name), odd, garbled)

    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """One read a file; from a URL all files in one request."""
        places = self._find(names)
        entries = self._entries[places].tolist()
        # The local header repeats the name and may add fields of its own, seldom more than 64 bytes.
        extra = [30 + len(key) + 64 for key in self._keys(names)]
        spans = [
            (entry[0], entry[0] + entry[1] + more)
            for entry, more, place in zip(entries, extra, places, strict=True)
            if place >= 0
        ]
        chunks = iter(self._ranges(spans))
        for entry, place in zip(entries, places, strict=True):
            chunk = next(chunks) if place >= 0 else Unreadable("not in the archive")
            try:
                yield chunk if isinstance(chunk, Unreadable) else self._unpack(chunk, *entry)
            except Unreadable as error:
                yield error
            except (struct.error, zlib.error, MemoryError):
                yield Unreadable("damaged in the archive")

    def signature(self, names: pa.StringArray) -> str:
        """A hash of the name and the CRC of each file."""
        parts = (names.slice(start, 65536).to_pylist() for start in range(0, len(names), 65536))
        places = np.concatenate([self._find(part) for part in parts])
        return _signature(names, np.where(places >= 0, self._entries[places, 3], -1))

    def _find(self, names: Sequence[str]) -> Int64[np.ndarray, " f"]:
        """The index of each name in the directory; -1 where it is not there."""
        keys = self._keys(names)
        if _MANY * len(keys) > len(self._names):  # a table of all names is quicker than one search a name
            found = pc.index_in(pa.array(keys, pa.large_binary()), value_set=self._names)
            return np.asarray(pc.fill_null(found, -1), dtype=np.int64)
        everywhere = range(len(self._names))
        places = [bisect_left(everywhere, key, key=lambda i: self._names[i].as_py()) for key in keys]
        return np.array(
            [
                place if place < len(self._names) and self._names[place].as_py() == key else -1
                for place, key in zip(places, keys, strict=True)
            ],
            dtype=np.int64,
        )

    def _keys(self, names: Sequence[str]) -> list[bytes]:
        return [(self.folder + name).encode(errors="replace") for name in names]

    def _ranges(self, spans: Sequence[tuple[int, int]]) -> Iterator[Content]:
        if "://" in self.location:
            fs, path = fsspec.core.url_to_fs(self.location)
            starts, ends = [start for start, _ in spans], [end for _, end in spans]
            yield from contents(fs.cat_ranges([path] * len(spans), starts, ends, on_error="return"))
            return
        with open(self.location, "rb", buffering=0) as file:
            for start, end in spans:
                file.seek(start)
                yield file.read(end - start)

    def _unpack(self, chunk: bytes, offset: int, packed_size: int, size: int, crc: int, method: int) -> bytes:
        if method == NO_FILE:
            raise Unreadable("a link or device, no file")
        if method == DAMAGED:
            raise Unreadable("damaged in the archive")
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable("encrypted, or packed by a method other than store or deflate")
        name_length, extra_length = struct.unpack_from("<HH", chunk, 26)
        start = 30 + name_length + extra_length
        packed = chunk[start : start + packed_size]
        if len(packed) < packed_size:
            begin = offset + start
            rest = next(self._ranges([(begin + len(packed), begin + packed_size)]))
            packed += rest if isinstance(rest, bytes) else b""
        stored = method == zipfile.ZIP_STORED
        content = packed if stored else zlib.decompressobj(wbits=-15).decompress(packed, size + 1)
        if len(content) != size or zlib.crc32(content) != crc:
            raise Unreadable("damaged in the archive")
        return content


class Bucket(Tree):
    """Files below a URL of fsspec."""

    def __init__(self, root: str) -> None:
        self.root = root

    def listing(self) -> Listing:
        """All files below the root.

        Raises:
            DataError: The root does not exist or cannot be reached.
        """
        fs, path = self._filesystem()
        try:
            found = fs.find(path)
        except (OSError, ValueError) as error:
            raise DataError("cannot be listed", place=self.root, found=str(error)) from None
        if not found:
            raise DataError("no files below this URL", place=self.root, hint="check the URL")
        return Listing.of(name.removeprefix(path).lstrip("/") for name in found)

    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """All files in one request, where the file system supports it."""
        fs, path = self._filesystem()
        paths = [f"{path.rstrip('/')}/{name}" if path else name for name in names]
        yield from contents(fs.cat_ranges(paths, [None] * len(paths), [None] * len(paths), on_error="return"))

    def signature(self, names: pa.StringArray) -> str:
        """Over the names only, as each file's size may cost one request."""
        return _signature(names, [])

    def _filesystem(self) -> tuple[Any, str]:
        try:
            fs, path = fsspec.core.url_to_fs(self.root)
        except (OSError, ValueError, ImportError) as error:
            raise DataError("cannot be opened", place=self.root, found=str(error)) from None
        return fs, path


def contents(found: Sequence[Any]) -> Iterator[Content]:
    """The result of fsspec's ``cat_ranges``, with errors as ``Unreadable``."""
    for content in found:
        yield content if isinstance(content, bytes) else _reason(content)


def _reason(error: Exception) -> Unreadable:
    if isinstance(error, FileNotFoundError | KeyError):
        return Unreadable("no such file")
    if isinstance(error, OSError) and error.strerror:
        return Unreadable(error.strerror.lower())
    return Unreadable(str(error) or type(error).__name__)


def _signature(names: pa.StringArray, marks: Sequence[int] | Int64[np.ndarray, " n"]) -> str:
    digest = hashlib.sha256(np.asarray(marks, dtype=np.int64).tobytes())
    for part in joined(names):
        digest.update(part + b"\0")
    return digest.hexdigest()
