"""The rows of a csv, tsv, jsonl or parquet file, as text or as typed columns."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet

from ogacli.base.options import Location
from ogacli.base.tables import FORMATS, opened, read_beginning, read_file
from ogacli.base.tables.dialect import Dialect, as_utf8
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
        with opened(self.path) as file:
            encoding = self.encoding
            if encoding is None and is_utf8(file):
                encoding = "utf-8-sig"
            elif encoding is None:
                _, encoding = as_utf8(file.read(), self.path, None, unicode=self.kind == "jsonl")
        given = Dialect(self.delimiter, encoding, self.decimal)
        return read_beginning(self.path, given).dialect if self.kind == "csv" else given

    def encoded(self, dialect: Dialect) -> Encoded:
        """The byte order mark and the encoding."""
        with opened(self.path) as file:
            return Encoded.of(file.read(_HEAD), dialect.encoding or "utf-8")

    def batches(self) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
        """The columns with their types, and the rows: of a parquet file a part at a time, otherwise a list.

        Raises:
            DataError: The file does not parse.
        """
        if self.kind == "parquet":
            with self._parquet() as (_, stored):
                return stored.schema_arrow, self._rows()
        if self.kind == "jsonl":
            with opened(self.path) as file:
                content, _ = as_utf8(file.read(), self.path, self.encoding, unicode=True)
            table = read_json_lines(content, self.path)
        else:
            text = {self.id} - {None, *self.label_columns}
            names = self.label_columns if isinstance(self.label, str) else ()
            given = Dialect(self.delimiter, self.encoding, self.decimal)
            table = read_file(self.path, text=text, labels=names, given=given, limits=self.bounds).table  # type: ignore[arg-type]
        return table.schema, table.to_batches(max_chunksize=_ROWS)

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
