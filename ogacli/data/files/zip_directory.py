"""The directory of a zip archive as flat arrays, without an object for each file.

In: an open archive. Out: the name of each file, and where and how it is stored. The record layouts are those
of PKWARE's APPNOTE 6.3, section 4.3, including the 64-bit ones.
"""

import os
import stat
import struct
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

_END = struct.Struct("<4s4H2LH")
"""Signature, two disks, two counts of files, size and offset of the directory, length of a comment."""
_LOCATOR = struct.Struct("<4sLQL")
"""The offset of the 64-bit end record, which comes directly before the locator."""
_END_64 = struct.Struct("<4sQ2H2L4Q")
"""Signature, own size, two versions, two disks, two counts of files, size and offset of the directory."""
_FILE = struct.Struct("<4s6H3L5H2L")
"""Signature, two versions, flags, method, time, date; CRC, sizes packed and not; lengths of name, extra
fields and comment, disk, two kinds of attributes, offset. Name, extra fields and comment follow."""
_LONGEST_COMMENT = 1 << 16
_UTF8, _ENCRYPTED = 0x800, 0x1
ENCRYPTED, NO_FILE, DAMAGED = -1, -2, -3
"""In place of the method: a file that is encrypted; a link, FIFO, device or socket; a file that would not lie
within the archive."""
_UNIX = 3
"""The system of an archive whose attributes hold the mode of each file; the high byte of the version."""
_LARGEST = 1 << 60
"""In place of larger numbers; no file is as large."""
_ELSEWHERE = 0xFFFFFFFF
"""In place of a number that is stored in the extra fields because it needs 64 bits."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The files of an archive, sorted by name."""

    names: pa.LargeBinaryArray
    """In UTF-8."""
    entries: Int64[np.ndarray, "n 5"]
    """Offset of the local header, packed size, size, CRC, and method, or ``ENCRYPTED``, ``NO_FILE`` or
    ``DAMAGED``."""
    packed: int
    """Bytes of the archive."""

    def whole(self) -> "Directory":
        """The same, with the method ``DAMAGED`` for files that would not lie within the archive."""
        entries = self.entries.copy()
        outside = (entries[:, 0] < 0) | (entries[:, 0] + entries[:, 1] > self.packed)
        entries[outside & (entries[:, 4] != NO_FILE), 4] = DAMAGED
        entries[outside, :3] = 0
        return replace(self, entries=entries)

    @property
    def unpacked(self) -> int:
        """Bytes of all files together, as the directory states them."""
        return int(self.entries[:, 2].astype(np.float64).sum())  # the sum of wrong sizes may need more bits


def read_directory(file: Any) -> Directory:
    """Read the directory.

    Args:
        file: The archive, open for reading bytes, seekable.

    Raises:
        zipfile.BadZipFile: The file is no zip archive, or its directory is damaged.
    """
    block, count, shift, length = _find(file)
    if count * _FILE.size > len(block):
        raise zipfile.BadZipFile("its directory is cut short")
    spans, entries, place = np.empty((count, 3), np.int64), np.empty((count, 5), np.int64), 0
    for i in range(count):
        try:
            found = _FILE.unpack_from(block, place)
        except struct.error:
            raise zipfile.BadZipFile("its directory is cut short") from None
        signature, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, mode, offset = found
        if signature != b"PK\1\2":
            raise zipfile.BadZipFile("its directory is damaged")
        place += _FILE.size
        spans[i] = place, place + lengths[0], flags & _UTF8
        if _ELSEWHERE in (packed, size, offset):
            extra = block[place + lengths[0] : place + lengths[0] + lengths[1]]
            packed, size, offset = _long_numbers(extra, size, packed, offset)
        offset, packed, size = (min(number, _LARGEST) for number in (offset, packed, size))
        if _is_no_file(found[1] >> 8, mode >> 16):
            method = NO_FILE
        entries[i] = offset + shift, packed, size, crc, ENCRYPTED if flags & _ENCRYPTED else method
        place += sum(lengths)
    names = _names(block, spans)
    order = pc.sort_indices(names)
    return Directory(names.take(order), entries[order.to_numpy()], length)


def _is_no_file(system: int, mode: int) -> bool:
    """Whether a member of an archive that was made on Unix is a link, FIFO, device or socket."""
    return system == _UNIX and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)


def _names(block: bytes, spans: Int64[np.ndarray, "n 3"]) -> pa.LargeBinaryArray:
    """The names; ``spans`` holds begin, end and whether it is in UTF-8 for each."""
    return pa.array(
        (
            block[begin:end] if utf8 else block[begin:end].decode("cp437").encode()
            for begin, end, utf8 in spans
        ),
        pa.large_binary(),
        size=len(spans),
    )


def _find(file: Any) -> tuple[bytes, int, int, int]:
    """The bytes of the directory, the number of files, the shift of its offsets, and the archive's size."""
    length = file.seek(0, os.SEEK_END)
    start = max(0, length - _END.size - _LONGEST_COMMENT - _LOCATOR.size - _END_64.size)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + _END.size:
        raise zipfile.BadZipFile("File is not a zip file")
    _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, end)
    long_end = end - _LOCATOR.size - _END_64.size
    if long_end >= 0 and tail[long_end:].startswith(b"PK\6\6"):
        *_, count, size, offset = _END_64.unpack_from(tail, long_end)
        end = long_end
    begin = start + end - size
    if begin < 0:
        raise zipfile.BadZipFile("its directory is damaged")
    file.seek(begin)
    # Other content may precede the archive, such as a self-extracting program.
    return file.read(size), count, begin - offset, length


def _long_numbers(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Packed size, size and offset, at least one of them from the extra field of 64-bit numbers."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            present = (next(numbers) if short == _ELSEWHERE else short for short in (size, packed, offset))
            try:
                size, packed, offset = present
            except (RuntimeError, ValueError):
                break
            return packed, size, offset
        extra = extra[4 + length :]
    raise zipfile.BadZipFile("its directory is damaged")
