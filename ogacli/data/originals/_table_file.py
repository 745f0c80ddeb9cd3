"""The rows of a csv, tsv, jsonl or parquet file, as text or as typed columns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa
import pyarrow.parquet

from ogacli.base.options import Location
from ogacli.base.tables import FORMATS, opened, read_beginning, read_file, usual_delimiter
from ogacli.base.tables.blocks import Blocks, NotByBlocks
from ogacli.base.tables.csv_blocks import csv_blocks
from ogacli.base.tables.dialect import Dialect, as_utf8, encoding_of
from ogacli.base.tables.json_blocks import json_blocks
from ogacli.base.tables.json_lines import read_json_lines
from ogacli.base.tables.parquet_file import length_of, open_parquet, read_batches
from ogacli.base.tables.text_file import Encoded, is_utf8
from ogacli.data.originals._labelled import Labelled
from ogacli.errors import DataError

_ROWS = 1 << 16
"""Rows of a part of a table."""
_HEAD = 4


class TableFile(Labelled):
    """One table in a file, a row a sample."""

    path: Location
    """As in the source."""
    delimiter: str | None = None
    """As in the source."""
    encoding: str | None = None
    """As in the source."""
    decimal: Literal[".", ","] | None = None
    """As in the source."""
    id: str | None = None
    """The column of ids."""

    def files(self) -> Sequence[str]:
        """The table."""
        return (self.path,)

    @property
    def own_format(self) -> str:
        """That of the file."""
        return self.kind

    @property
    def kind(self) -> str:
        """``csv``, ``jsonl`` or ``parquet``.

        Raises:
            DataError: The path has the suffix of no table.
        """
        suffix = Path(self.path).suffix.lower()
        if suffix not in FORMATS:
            raise DataError("not a table", place=self.path, expected=f"one of {', '.join(FORMATS)}")
        return FORMATS[suffix]

    def dialect(self) -> Dialect:
        """How the text of a csv or jsonl file is written; of jsonl the encoding alone.

        Raises:
            DataError: It cannot be told.
        """
        encoding = self.encoding
        if encoding is None:
            with opened(self.path) as file:
                encoding = (
                    "utf-8-sig"
                    if is_utf8(file)
                    else encoding_of(file, self.path, unicode=self.kind == "jsonl")
                )
        given = Dialect(self.delimiter, encoding, self.decimal)
        return read_beginning(self.path, given).dialect if self.kind == "csv" else given

    def encoded(self, dialect: Dialect) -> Encoded:
        """The byte order mark and the encoding."""
        with opened(self.path) as file:
            return Encoded.of(file.read(_HEAD), dialect.encoding or "utf-8")

    def batches(self) -> Blocks:
        """The rows with typed columns, some at a time.

        A csv or jsonl file is read as a whole where its blocks do not show the types of the columns.

        Raises:
            DataError: The file does not parse.
        """
        if self.kind == "parquet":
            with self._parquet() as (_, stored):
                return Blocks(stored.schema_arrow, self._rows)
        try:
            return json_blocks(self.lines(), self.path) if self.kind == "jsonl" else self._csv_blocks()
        except NotByBlocks:
            table = self._whole()
        return Blocks(table.schema, lambda: iter(table.to_batches(max_chunksize=_ROWS)))

    def lines(self) -> Callable[[], AbstractContextManager[TextIO]]:
        """What opens a jsonl file for reading its lines, with their line feeds.

        Raises:
            DataError: Its encoding cannot be told.
        """
        encoded = self.encoded(self.dialect())

        @contextmanager
        def opened_lines() -> Iterator[TextIO]:
            with opened(self.path) as file, encoded.reading(file, "\n") as lines:
                yield lines

        return opened_lines

    def _csv_blocks(self) -> Blocks:
        text, labels, given = self._read_as()
        return csv_blocks(self.path, usual_delimiter(self.path), text=text, labels=labels, given=given)

    def _whole(self) -> pa.Table:
        if self.kind == "jsonl":
            with opened(self.path) as file:
                content, _ = as_utf8(file.read(), self.path, self.encoding, unicode=True)
            return read_json_lines(content, self.path, self.bounds)
        text, labels, given = self._read_as()
        return read_file(self.path, text=text, labels=labels, given=given, limits=self.bounds).table

    def _read_as(self) -> tuple[set[str], tuple[str, ...], Dialect]:
        """Columns of a csv file that are read as text; its labels; and how it is written."""
        text = {self.id} if self.id is not None and self.id not in self.label_columns else set()
        labels = self.label_columns if isinstance(self.label, str) else ()
        return text, labels, Dialect(self.delimiter, self.encoding, self.decimal)

    @contextmanager
    def _parquet(self) -> Iterator[tuple[Any, pa.parquet.ParquetFile]]:
        """The open file, and what reads it."""
        with opened(self.path) as file, open_parquet(file, self.path, DataError, self.bounds) as stored:
            yield file, stored

    def _rows(self) -> Iterator[pa.RecordBatch]:
        with self._parquet() as (file, stored):
            yield from read_batches(stored, length_of(file), self.path, DataError, self.bounds)

    def stored(self) -> Any:
        """The metadata of a parquet file.

        Raises:
            DataError: It is none.
        """
        with self._parquet() as (_, stored):
            return stored.metadata
