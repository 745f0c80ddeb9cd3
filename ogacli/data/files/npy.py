"""Arrays in npy and npz files.

In: a path or URL, and for an npz the name of an array. Out: ``Rows``: a ``MappedArray`` where the bytes
are stored uncompressed in a local file, otherwise an array in memory.
"""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from ogacli.base.blocks import MEMORY, watch
from ogacli.base.limits import USUAL, Limits
from ogacli.base.tables import opened
from ogacli.base.wording import cut
from ogacli.errors import DataError

_DIMENSIONS = 32
"""Of an array, as numpy had at most for long."""
_TOGETHER = 128
"""Rows that are read from one mapping: each may load 64 kilobytes around it into memory."""
_SHOWN = 200
"""Characters of the names that an error shows."""
_PART = 1 << 24
"""Bytes of the rows that are written together."""


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


def open_array(path: str, name: str | None = None, limits: Limits = USUAL) -> Rows:
    """The array in an npy file, or the one called ``name`` in an npz file.

    Args:
        path: The file.
        name: The array in an npz file.
        limits: Of what a compressed array may unpack to.

    Raises:
        DataError: The file or name does not exist, is not npy or npz, holds pickled objects or numbers of a
            type that networks do not have, or would unpack to too much.
    """
    place = path if name is None else f"{path}: {name}"
    with _whole(place), opened(path) as file:
        if name is None:
            found = _array(file, path, _length(file))
        else:
            found = _member(file, path, name, limits)
    _check_values(found.dtype, place)
    return found


def open_arrays(path: str, limits: Limits = USUAL) -> dict[str, Rows]:
    """All arrays in an npz file, by name.

    Args:
        path: The file.
        limits: Of what those that are compressed may unpack to, together.

    Raises:
        DataError: As in :func:`open_array`.
    """
    found = {}
    with _whole(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        size = _length(file)
        unpacked = sum(entry.file_size for entry in archive.infolist() if _is_packed(entry))
        limits.check_unpacked(unpacked, size, path, DataError)
        for entry in archive.infolist():
            found[entry.filename.removesuffix(".npy")] = _entry(file, archive, entry, path, size)
    for name, one in found.items():
        _check_values(one.dtype, f"{path}: {name}")
    return found


def array_names(path: str) -> list[str]:
    """The names of the arrays in an npz file.

    Raises:
        DataError: It is none.
    """
    with _whole(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        return [entry.removesuffix(".npy") for entry in archive.namelist()]


def are_packed(path: str) -> bool:
    """Whether an npz file holds a compressed array.

    Raises:
        DataError: It is none.
    """
    with _whole(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        return any(map(_is_packed, archive.infolist()))


def _is_packed(entry: zipfile.ZipInfo) -> bool:
    return entry.compress_type != zipfile.ZIP_STORED or bool(entry.flag_bits & 1)


@contextmanager
def _whole(place: str) -> Iterator[None]:
    """Within the block, what is raised for a damaged file becomes a ``DataError``."""
    try:
        yield
    except _DAMAGED as error:
        raise DataError(
            "cannot be read as an array",
            place=place,
            found=str(error) or type(error).__name__,
            expected="an npy file, or a name inside an npz, of numbers or text (no Python objects)",
        ) from None


def _check_values(kind: np.dtype[Any], place: str) -> None:
    """Check that an array holds values that a dataset may have.

    Raises:
        DataError: It does not.
    """
    check_kind(kind, place)
    if kind.kind not in "biufSUM":
        raise DataError("not numbers or texts", place=place, found=str(kind))


def check_kind(kind: np.dtype[Any], place: str) -> None:
    """Check that numbers keep their values in a network.

    Raises:
        DataError: They are complex, or of more than 64 bits.
    """
    if kind.kind == "c":
        raise DataError(
            "complex numbers",
            place=place,
            found=str(kind),
            expected="real numbers",
            hint="give real and imaginary parts side by side: np.concatenate([x.real, x.imag], 1)",
        )
    if kind.kind == "f" and kind.itemsize > 8:
        raise DataError(
            "numbers of a type that networks do not have",
            place=place,
            found=str(kind),
            expected="at most 64 bits",
            hint="convert them first: x.astype(np.float64)",
        )


_DAMAGED = (
    *(ValueError, EOFError, OSError, zipfile.BadZipFile, struct.error, zlib.error, NotImplementedError),
    *(RuntimeError, MemoryError, OverflowError, TypeError, LookupError, SyntaxError, RecursionError),
    tokenize.TokenError,
)
"""What zipfile and numpy raise for damaged files; a RuntimeError is a password."""


def _length(file: Any) -> int:
    length: int = file.seek(0, os.SEEK_END)
    file.seek(0)
    return length


def _member(file: Any, path: str, name: str, limits: Limits) -> Rows:
    """An array in an npz file: mapped where it is stored as it is, otherwise unpacked."""
    packed = _length(file)
    with zipfile.ZipFile(file) as archive:
        known = [entry.removesuffix(".npy") for entry in archive.namelist()]
        if name not in known:
            found = cut(", ".join(known), _SHOWN) or "no arrays"
            raise DataError(f"no array {name!r}", place=path, found=found)
        entry = archive.infolist()[known.index(name)]
        if _is_packed(entry):
            limits.check_unpacked(entry.file_size, packed, f"{path}: {name}", DataError)
        return _entry(file, archive, entry, path, packed)


def _entry(file: Any, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str, end: int) -> Rows:
    """The array in a member of an open archive.

    Args:
        file: The open file.
        archive: What reads it.
        entry: The member.
        path: Its path or URL.
        end: Its length in bytes.
    """
    if _is_packed(entry):
        with archive.open(entry) as member:
            return _array(member, "://", entry.file_size)
    file.seek(entry.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    file.seek(int(entry.header_offset + 30 + name_length + extra_length))
    return _array(file, path, end)


def _array(file: Any, path: str, end: int) -> Rows:
    """The array that begins here: mapped from a local file, otherwise in memory.

    Args:
        file: An open file, at the beginning of the array.
        path: Its path or URL.
        end: Where its bytes end at the latest.

    Raises:
        ValueError: It is damaged, or holds Python objects.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which could run code")
    if len(shape) > _DIMENSIONS:
        raise ValueError(f"{len(shape):,} dimensions; at most {_DIMENSIONS} are read")
    if any(side < 0 for side in shape):
        raise ValueError(f"the shape {shape}")
    size = math.prod(shape) * dtype.itemsize
    if size > end - file.tell():
        raise ValueError(f"it is cut off: {size:,} bytes of values are missing in part")
    if shape and 0 not in shape and "://" not in path:
        return MappedArray(path, file.tell(), shape, dtype, fortran)
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        count = file.readinto(view[filled:])
        if not count:
            raise ValueError("it is cut off")
        filled += count
    values = np.frombuffer(content, dtype) if size else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def write_rows(file: IO[bytes], rows: Rows, chosen: Int64[np.ndarray, " m"]) -> None:
    """Write some rows of an array as an npy file, a part at a time.

    Args:
        file: Open for writing.
        rows: The array.
        chosen: Its rows to write.
    """
    head = {
        "descr": np.lib.format.dtype_to_descr(rows.dtype),
        "fortran_order": False,
        "shape": (len(chosen), *rows.shape[1:]),
    }
    np.lib.format.write_array_header_2_0(file, head)
    together = max(1, _PART // max(1, int(np.prod(rows.shape[1:])) * rows.dtype.itemsize))
    for start in range(0, len(chosen), together):
        part = rows[chosen[start : start + together]]
        file.write(np.ascontiguousarray(part).tobytes())
