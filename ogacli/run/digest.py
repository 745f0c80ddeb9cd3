"""``scores.parquet`` with a digest of its rows and of the summary that belongs to them.

In: tables of rows, and ``summary.json`` as a document. Out: the file, whose metadata holds two SHA-256
digests, by which a reader finds out whether rows or summary were changed since. The digests hold no secret:
they show that a file was edited, not who wrote it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ogacli.base.arrow import numbers, unpacked, value

ROWS, SUMMARY = b"oga.rows", b"oga.summary"
"""The keys of the two digests in the metadata of the file."""


class RowsDigest:
    """SHA-256 over the values of all rows, however they are divided into tables.

    Args:
        schema: The columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._names = schema.names
        self._parts: dict[tuple[str, str], Any] = defaultdict(hashlib.sha256)
        """By column and part of it: validity, lengths, values."""

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add the next rows."""
        for name, column in zip(self._names, rows.columns, strict=True):
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                for part, values in _parts(chunk):
                    self._parts[name, part].update(values)

    def hexdigest(self) -> str:
        """Of the rows so far."""
        found = [[name, part, one.hexdigest()] for (name, part), one in sorted(self._parts.items())]
        return hashlib.sha256(json.dumps([self._names, found]).encode()).hexdigest()


def summary_digest(document: Any) -> str:
    """SHA-256 of a JSON document, which does not depend on its layout."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def write_scores(
    file: Path, tables: Iterable[pa.Table], summary: Any, *, dictionaries: Sequence[str], rows: int
) -> None:
    """Write ``scores.parquet``.

    Args:
        file: Where.
        tables: At least one, all of one schema.
        summary: The summary of these rows, as a JSON document.
        dictionaries: Columns of few values.
        rows: In a row group; each table begins a new one.
    """
    several = iter(tables)
    first = next(several)
    digest = RowsDigest(first.schema)
    repeated = [name for name in dictionaries if name in first.schema.names]
    with pa.parquet.ParquetWriter(
        file, first.schema, use_dictionary=repeated, write_statistics=["position"]
    ) as writer:  # rows are in no order that the lowest and highest values of other columns could tell of
        for table in chain([first], several):
            digest.add(table)
            writer.write_table(table, row_group_size=rows)
        writer.add_key_value_metadata({ROWS: digest.hexdigest(), SUMMARY: summary_digest(summary)})


def _parts(array: pa.Array) -> Iterator[tuple[str, Any]]:
    """The bytes of a column by parts; what lies behind a null does not count."""
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    kind = array.type
    yield "valid", unpacked(array.is_valid())
    if pa.types.is_null(kind):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = pc.list_value_length(array).cast(pa.int64())
        yield "length", unpacked(_filled(lengths, value(0)))
        for part, values in _parts(array.flatten()):  # without what lies behind nulls
            yield f"item.{part}", values
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        filled = _filled(array, value("")).cast(pa.large_binary())
        yield "length", unpacked(pc.binary_length(filled))
        _, offsets, data = filled.buffers()
        if data is not None and len(filled):
            ends = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1]
            yield "value", memoryview(data)[int(ends[0]) : int(ends[-1])]
    else:
        yield "value", unpacked(_filled(array, numbers(np.zeros(1, np.int8)).cast(kind)[0]))


def _filled(array: pa.Array, by: pa.Scalar) -> pa.Array:
    return pc.fill_null(array, by) if array.null_count else array
