"""Csv files: bytes -> a table; the delimiter, the encoding and the decimal mark are found out."""

import csv
import io
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ogacli.base.tables import written
from ogacli.base.tables.dialect import Dialect, as_utf8, delimiter_of, foreign_word, records


def read_csv(
    data: bytes,
    place: str,
    usual: str,
    *,
    text: Collection[str] = (),
    labels: Collection[str] = (),
    given: Dialect = Dialect(),  # noqa: B008
    first: int | None = None,
) -> tuple[pa.Table, Dialect, tuple[str, ...]]:
    """The table of a csv file, how it is written, and sentences on what is unusual.

    Args:
        data: The file.
        place: Its path, for messages.
        usual: The delimiter of its suffix.
        text: Columns that are read as text.
        labels: Columns that are read as text where their values would not be written again as they are.
        given: What the user gave.
        first: Only so many rows, of a file that is cut off; None for all of a whole file.

    Raises:
        DataError: There are several ways to read it.
    """
    content, encoding = as_utf8(data, place, given.encoding)
    content, named = without_sep(content)
    delimiter = given.delimiter or named or delimiter_of(content, place, usual)
    if first is not None:
        content = _whole_records(content, delimiter, first)
    word = foreign_word(content) if encoding not in ("utf-8", "utf-8-sig") else None
    table = _csv_table(content, delimiter, text, given.decimal)
    decimal = given.decimal or _decimal(table, content, delimiter)
    if decimal == "," and given.decimal is None:
        table = _csv_table(content, delimiter, text, decimal)
    exact = [name for name in labels if name in table.column_names and name not in text]
    table = _as_written(table, content, delimiter, exact)
    found = Dialect(delimiter, encoding, decimal)
    return table, found, found.noted(usual, word)


def without_sep(content: bytes) -> tuple[bytes, str | None]:
    """The file without the line ``sep=;``, by which Excel gives the delimiter; and that delimiter."""
    if content[:4].lower() != b"sep=" or content[5:6] not in (b"\r", b"\n"):
        return content, None
    return content.partition(b"\n")[2], content[4:5].decode(errors="ignore") or None


def _csv_table(
    content: bytes,
    delimiter: str,
    text: Collection[str] = (),
    decimal: str | None = None,
    only: Collection[str] = (),
) -> pa.Table:
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    convert = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in text},
        decimal_point=decimal or ".",
        include_columns=list(only) or None,
    )
    return pa.csv.read_csv(pa.BufferReader(content), parse_options=parse, convert_options=convert)


def _decimal(table: pa.Table, content: bytes, delimiter: str) -> Any:
    """The decimal mark that the cells show; None where they show none, or both."""
    texts = list(texts_of(table))
    if not any(written.ambiguous(written.cells(one)) for one in texts) and "," not in written.marks(texts):
        return "."
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    if floats:
        again = _csv_table(content, delimiter, floats, only=floats)
        texts += list(texts_of(again))
    found = written.marks(texts)
    return found.pop() if len(found) == 1 else None


def _as_written(table: pa.Table, content: bytes, delimiter: str, names: Collection[str]) -> pa.Table:
    """The table with some columns as text, where they would not be written again as they are in the file."""
    typed = [name for name in names if table.column_names.count(name) == 1]
    typed = [name for name in typed if not is_plain(table.schema.field(name).type)]
    if not typed:
        return table
    exact = _csv_table(content, delimiter, typed, only=typed)
    for name in typed:
        before, texts = table.column(name), exact.column(name)
        if pa.types.is_integer(before.type) and not written.have_leading_zeros(texts.combine_chunks()):
            continue
        texts = pc.if_else(pc.is_null(before), pa.scalar(None, pa.string()), texts)
        table = table.set_column(table.column_names.index(name), name, texts)
    return table


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of a type are written again as they are."""
    return bool(pa.types.is_floating(kind) or pa.types.is_string(kind) or pa.types.is_null(kind))


def _whole_records(content: bytes, delimiter: str, count: int) -> bytes:
    """The first records of a file that is cut off."""
    rows = io.StringIO(newline="")
    csv.writer(rows, delimiter=delimiter).writerows(records(content, delimiter, count=count))
    return rows.getvalue().encode()


def texts_of(table: pa.Table) -> Iterator[pa.Array]:
    """The columns of text."""
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield column.combine_chunks()
