"""Arrays in npy and npz files.

In: a path or URL, and for an npz the name of an array. Out: ``Rows``: a ``MappedArray`` where the bytes
are stored uncompressed in a local file, otherwise an array in memory.
"""

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from ogacli.base.blocks import MEMORY, watch
from ogacli.base.tables import opened
from ogacli.errors import DataError

_TOGETHER = 128
"""Rows that are read from one mapping: each may load 64 kilobytes around it into memory."""


@runtime_checkable
class Rows(Protocol):
    """An array [n, ...] that is read by rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape; the first is n."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        ...

    def __getitem__(self, rows: Any, /) -> Shaped[np.ndarray, "..."]:
        """Some rows."""
        ...


@dataclass(frozen=True, slots=True)
class MappedArray:
    """An array in a file, mapped again for each read.

    A mapping that stays open keeps every page that was read in the resident memory of the process.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    def __getitem__(self, rows: Any, /) -> Shaped[np.ndarray, "..."]:
        """A copy of some rows."""
        if not isinstance(rows, np.ndarray):
            return np.array(self._mapped()[rows])
        if len(rows) > 1 and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return np.array(self._mapped()[rows[0] : rows[-1] + 1])
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for start in range(0, len(rows), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            found[part] = self._mapped()[rows[part]]
        return found

    def whole(self) -> Shaped[np.ndarray, "..."]:
        """All rows, as a view where they take much memory; its pages are released with each block."""
        found = self._mapped()
        if found.nbytes <= MEMORY:
            return np.array(found)
        watch(found._mmap)  # type: ignore[attr-defined]
        return np.asarray(found)

    def _mapped(self) -> Shaped[np.ndarray, "..."]:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, "F" if self.fortran else "C")


def whole(array: Rows) -> Shaped[np.ndarray, "..."]:
    """All rows of an array; as a view where it is long and mapped from a file."""
    return array.whole() if isinstance(array, MappedArray) else np.asarray(array[...])


def open_array(path: str, name: str | None = None) -> Rows:
    """The array in an npy file, or the one called ``name`` in an npz file.

    Raises:
        DataError: The file or name does not exist, is not npy or npz, or holds pickled objects.
    """
    place = path if name is None else f"{path}: {name}"
    try:
        with opened(path) as file:
            start = 0 if name is None else _member_start(file, path, name)
            if start is not None and "://" not in path:
                file.seek(start)
                return _mapped(file, path)
            if name is None:
                return np.asarray(np.load(io.BytesIO(file.read()), allow_pickle=False))
            with np.load(file, allow_pickle=False) as archive:
                return np.asarray(archive[name])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, struct.error) as error:
        raise DataError(
            "cannot be read as an array",
            place=place,
            found=str(error),
            expected="an npy file, or a name inside an npz, of numbers or text (no Python objects)",
        ) from None


def _mapped(file: Any, path: str) -> Rows:
    start = file.tell()
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which could run code")
    found = MappedArray(path, file.tell(), shape, dtype, fortran)
    if not shape or 0 in shape:
        # An empty array cannot be mapped.
        file.seek(start)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    found[:0]  # Raises an error if the file is shorter than its header says.
    return found


def _member_start(file: Any, path: str, name: str) -> int | None:
    """The offset of an array's npy file in an npz; None where it is compressed."""
    with zipfile.ZipFile(file) as archive:
        known = [entry.removesuffix(".npy") for entry in archive.namelist()]
        if name not in known:
            raise DataError(f"no array {name!r}", place=path, found=", ".join(known))
        entry = archive.infolist()[known.index(name)]
    if entry.compress_type != zipfile.ZIP_STORED:
        return None
    file.seek(entry.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    return int(entry.header_offset + 30 + name_length + extra_length)
