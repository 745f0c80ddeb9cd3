"""Columns of one value a sample that are on disk where they are long, and the blocks that they are read in.

In: a length and a type. Out: an array; beyond ``MEMORY`` bytes it is mapped from a temporary file without a
name, in the folder that ``TMPDIR`` names. Pages of a mapped file stay in the resident memory of the process
until they are released, which ``blocks`` does after each block.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from ogacli.errors import RunError

MEMORY = 8 << 20
"""Bytes from which on a column is on disk."""
ROWS = 1 << 18
"""Rows of a block."""
_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def column(n: int, kind: Any, fill: object = 0) -> Shaped[np.ndarray, " n"]:
    """A column of one value n times.

    Args:
        n: Its length.
        kind: The type of the values.
        fill: The value.

    Raises:
        RunError: The disk is full.
    """
    dtype = np.dtype(kind)
    if n * dtype.itemsize <= MEMORY:
        return np.full(n, fill, dtype)
    found = np.frombuffer(_file(n * dtype.itemsize), dtype)
    if fill != 0:
        for block in blocks(n):
            found[block] = fill
    return found


def numbered(n: int) -> Shaped[np.ndarray, " n"]:
    """The column 0, 1, .., n - 1."""
    found = column(n, np.int64)
    for block in blocks(n):
        found[block] = np.arange(block.start, block.stop)
    return found


def blocks(n: int, rows: int = ROWS) -> Iterator[slice]:
    """The rows 0 to n in slices of so many; the pages of columns on disk are released after each."""
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))
        release()


def taken(values: Shaped[np.ndarray, " n"], rows: Int64[np.ndarray, " m"]) -> Shaped[np.ndarray, " m"]:
    """The values of some rows, which are ascending; looked up block by block."""
    found = np.empty(len(rows), values.dtype)
    for block in blocks(len(values)):
        first, last = np.searchsorted(rows, [block.start, block.stop])
        found[first:last] = values[rows[first:last]]
    return found


def release() -> None:
    """Take the pages of columns on disk out of the resident memory; they are read again when used."""
    for one in _mapped:
        one.madvise(mmap.MADV_DONTNEED)


def watch(mapped: mmap.mmap) -> None:
    """Let ``release`` release the pages of a mapped file, too; changes to it must be shared with the file."""
    if hasattr(mmap, "MADV_DONTNEED"):
        _mapped.add(mapped)


def _file(size: int) -> mmap.mmap:
    try:
        with tempfile.TemporaryFile(prefix="oga-") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk would end the process later
            else:
                file.truncate(size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise RunError(
            "no room for the results of a scan",
            place=tempfile.gettempdir(),
            found=error.strerror or str(error),
            expected=f"{size >> 20:,} MB more, as results of many samples are kept on disk",
            hint="free some, or name another folder: TMPDIR=/large/disk oga scan ..",
        ) from None
    watch(mapped)
    return mapped
