"""Parquet files that may come from anybody -> tables, in memory that the limits bound.

In: a path, or an open file. Out: an open ``ParquetFile``, checked; or the whole table. A few kilobytes may
stand for billions of rows, or for a long text that is repeated in each row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ogacli.base.arrow import empty
from ogacli.base.limits import USUAL, Limits, raise_limit
from ogacli.base.special_files import refuse_special
from ogacli.base.wording import number
from ogacli.errors import OgaError

_VALUE = 8
"""Bytes of a value, at most; of a text without its letters."""
_TOGETHER, _PARTS = 1 << 16, 8
"""How many rows are decoded at once; and, where they may be large, which part of the limit they may take."""


@contextmanager
def open_parquet(
    source: Any, place: str, error: type[OgaError], limits: Limits = USUAL
) -> Iterator[pa.parquet.ParquetFile]:
    """An open parquet file whose sizes, as the file states them, are within the limits.

    Args:
        source: Its path, or the open file.
        place: Its path, for messages.
        error: The class of the error to raise, also for errors of Arrow within the block.
        limits: Of what it may unpack to.

    Raises:
        FileNotFoundError: There is none.
        OgaError: An error of the class ``error``: it is none, is damaged, or would unpack to too much.
    """
    if isinstance(source, str | Path):
        refuse_special(source, error)
    try:
        with pa.parquet.ParquetFile(source, pre_buffer=False) as file:
            about = file.metadata
            size = about.num_rows * _VALUE * max(1, about.num_columns)
            limits.check_unpacked(max(size, _stated(about)), length_of(source), place, error)
            yield file
    except (FileNotFoundError, OgaError):
        raise
    except IsADirectoryError:
        raise error("a folder, not a file", place=place) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, TypeError) as problem:
        # Arrow's own message may have many lines, and hold bytes of the file.
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise error("does not parse", place=place, found=reason) from None


def read_all(
    file: pa.parquet.ParquetFile, packed: int, place: str, error: type[OgaError], limits: Limits = USUAL
) -> pa.Table:
    """All rows of an open file, with the arguments and errors of :func:`read_batches`."""
    if file.metadata.num_rows * _longest(file.metadata) <= limits.allowed(packed):
        found = file.read()
        found.validate(full=True)
        return found
    batches = read_batches(file, packed, place, error, limits)
    parts = [empty(file.schema_arrow), *(pa.Table.from_batches([batch]) for batch in batches)]
    return pa.concat_tables(parts).combine_chunks()


def read_batches(
    file: pa.parquet.ParquetFile, packed: int, place: str, error: type[OgaError], limits: Limits = USUAL
) -> Iterator[pa.RecordBatch]:
    """The rows of an open file, a part at a time; few of them where a text may be repeated in many rows.

    Offsets and texts are checked, which Arrow does not do when it reads: a damaged one raises
    ``ArrowInvalid``, which :func:`open_parquet` tells.

    Args:
        file: As of :func:`open_parquet`.
        packed: Bytes of the file.
        place: Its path, for messages.
        error: The class of the error to raise.
        limits: Of what it may unpack to.

    Raises:
        OgaError: An error of the class ``error``: it unpacks to more than the limit.
    """
    allowed = limits.allowed(packed)
    longest = _longest(file.metadata)
    if file.metadata.num_rows * longest <= allowed:
        for batch in file.iter_batches(batch_size=_TOGETHER):
            batch.validate(full=True)
            yield batch
        return
    size = 0
    for batch in file.iter_batches(batch_size=max(1, min(_TOGETHER, allowed // (_PARTS * longest)))):
        batch.validate(full=True)
        size += batch.nbytes
        if size > allowed:
            raise error(
                "it unpacks to more than may be read",
                place=place,
                found=f"{number(size)} bytes in a part of its rows, packed in {number(packed)}",
                expected=f"at most {number(allowed)} bytes",
                hint=raise_limit("unpacked", 2 * size),
            )
        yield batch


def _stated(about: Any) -> int:
    """Bytes of all pages once they are unpacked, as the file states them."""
    return sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))


def _longest(about: Any) -> int:
    """No text of a row is longer than all texts of its row group that are stored: their bytes, at most."""
    longest = 0
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if column.physical_type == "BYTE_ARRAY":
                longest = max(longest, column.total_uncompressed_size)
    return longest


def length_of(source: Any) -> int:
    """Bytes of a file: a path, or an open file."""
    if isinstance(source, str | Path):
        return Path(source).stat().st_size
    place = source.tell()
    length: int = source.seek(0, 2)
    source.seek(place)
    return length
