"""Read and write tables in csv, jsonl and parquet files, local or through fsspec.

In: a path or URL, whose suffix gives the format. Out: a ``pyarrow.Table``. How a csv file is written is found
out, or given as a ``Dialect``. Nested columns become several: ``size`` of ``{"size": {"width": 3}}`` becomes
``size.width``.
"""

import itertools
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ogacli.base.limits import USUAL, Limits
from ogacli.base.special_files import refuse_special
from ogacli.base.tables import written
from ogacli.base.tables.csv_file import read_csv, texts_of
from ogacli.base.tables.dialect import Dialect, as_utf8
from ogacli.base.tables.json_lines import read_json_lines
from ogacli.base.tables.parquet_file import length_of, open_parquet, read_all
from ogacli.errors import DataError

FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_OTHERS = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods", ".numbers"), "save the sheet as csv in the spreadsheet program"
    ),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst"), "unpack the file"),
    **dict.fromkeys((".txt", ".dat", ".data"), "name the file .csv where it has columns"),
    ".json": "write one object a line, and name the file .jsonl",
}
"""What to do with files of other formats."""
NAMELESS = "unnamed column "
"""A column without a name in the file has this and its number, from 1, for one."""
_FIRST_BYTES, _FIRST = 1 << 20, 1000
"""The beginning of a file: bytes of a csv or jsonl file, and rows."""


@dataclass(frozen=True, slots=True)
class ReadTable:
    """A table, and how its file is written."""

    table: pa.Table
    dialect: Dialect
    notes: tuple[str, ...] = ()
    """What is unusual about the file; sentences."""


def read_table(path: str | Path, *, text: Collection[str] = ()) -> pa.Table:
    """Read a csv, tsv, jsonl or parquet file.

    Args:
        path: A local path or fsspec URL.
        text: Columns that are read as text even where all values are numbers: ``007`` stays ``007``.

    Raises:
        DataError: The file is missing, of no known format, or does not parse.
    """
    return read_file(path, text=text).table


def read_file(
    path: str | Path,
    *,
    text: Collection[str] = (),
    labels: Collection[str] = (),
    given: Dialect = Dialect(),  # noqa: B008
    limits: Limits = USUAL,
) -> ReadTable:
    """Read a csv, tsv, jsonl or parquet file, and find out how it is written.

    Args:
        path: A local path or fsspec URL.
        text: Columns that are read as text even where all values are numbers.
        labels: Columns that are read as text where their values would not be written again as they are:
            ``01``, ``True``, dates.
        given: What the user gave.
        limits: Of what a parquet or jsonl file may unpack to.

    Raises:
        DataError: The file is missing, of no known format, or does not parse, would unpack to too much, or
            there are several ways to read it.
    """
    with _parsed(path) as (file, format):
        _check_given(given, format, str(path))
        match format:
            case "csv":
                found = ReadTable(
                    *read_csv(
                        file.read(), str(path), usual_delimiter(path), text=text, labels=labels, given=given
                    )
                )
            case "jsonl":
                content, encoding = as_utf8(file.read(), str(path), given.encoding, unicode=True)
                dialect = replace(given, encoding=encoding)
                found = ReadTable(read_json_lines(content, str(path), limits), dialect, dialect.noted(""))
            case _:
                with open_parquet(file, str(path), DataError, limits) as stored:
                    found = ReadTable(read_all(stored, length_of(file), str(path), DataError, limits), given)
    table = _flat(found.table, str(path))
    if found.dialect.decimal is None and format != "csv":
        marks = written.marks(texts_of(table))
        found = replace(
            found, dialect=replace(found.dialect, decimal=marks.pop() if len(marks) == 1 else None)
        )
    return replace(found, table=_with_texts(table, text, path))


def read_beginning(path: str | Path, given: Dialect = Dialect()) -> ReadTable:  # noqa: B008
    """The first rows of a table; of a csv or jsonl file the first megabyte is read.

    Args:
        path: A local path or fsspec URL.
        given: What the user gave, or what is known already.

    Raises:
        DataError: As in ``read_file``.
    """
    place = str(path)
    with _parsed(path) as (file, format):
        if format == "parquet":
            with open_parquet(file, place, DataError) as stored:
                rows = list(itertools.islice(stored.iter_batches(batch_size=_FIRST), 1))
                found = ReadTable(pa.Table.from_batches(rows, stored.schema_arrow), Dialect())
        else:
            data, cut_off = file.read(_FIRST_BYTES), bool(file.read(1))
            if format == "csv":
                first = _FIRST if cut_off else None
                found = ReadTable(*read_csv(data, place, usual_delimiter(path), given=given, first=first))
            else:
                content, encoding = as_utf8(data, place, given.encoding, unicode=True)
                lines = content.split(b"\n")[: -1 if cut_off else None]
                rows = read_json_lines(b"\n".join(lines[:_FIRST]), place)
                found = ReadTable(rows, Dialect(encoding=encoding))
    return replace(found, table=_flat(found.table, place))


def column_names(path: str | Path) -> list[str]:
    """The names of the columns of a table; only its beginning is read.

    Raises:
        DataError: As in ``read_table``.
    """
    return list(read_beginning(path).table.column_names)


def check_columns(table: pa.Table, needed: Collection[str], path: str | Path, expected: str) -> None:
    """Refuse a table without a column.

    Args:
        table: The table.
        needed: Names of the columns that it must have.
        path: Where it was read from.
        expected: What it should be, for the message.

    Raises:
        DataError: A column is missing.
    """
    if missing := sorted(set(needed) - set(table.column_names)):
        raise DataError(
            f"no column {', '.join(missing)}",
            place=str(path),
            found=", ".join(table.column_names),
            expected=expected,
        )


@contextmanager
def _parsed(path: str | Path) -> Iterator[tuple[Any, str]]:
    """The open file and its format; errors of parsing in the block become ``DataError``."""
    suffix = Path(str(path)).suffix.lower()
    if suffix not in FORMATS:
        expected = f"one of {', '.join(FORMATS)}"
        raise DataError(
            "not a table",
            place=str(path),
            found=f"suffix {suffix!r}",
            expected=expected,
            hint=_OTHERS.get(suffix),
        )
    with opened(path) as file:
        try:
            yield file, FORMATS[suffix]
        except (pa.ArrowException, OSError, ValueError, AttributeError, TypeError, OverflowError) as error:
            hint = "check the delimiter, and quotes around values that contain it; or give it as `delimiter`"
            raise DataError(
                "does not parse",
                place=str(path),
                found=(str(error) or type(error).__name__).splitlines()[0],
                hint=hint if FORMATS[suffix] == "csv" else None,
            ) from None


def usual_delimiter(path: str | Path) -> str:
    """The delimiter of a suffix."""
    return "\t" if str(path).lower().endswith(".tsv") else ","


def _check_given(given: Dialect, format: str, place: str) -> None:
    """Refuse what a file of this format does not have."""
    meaningless = {"csv": (), "jsonl": ("delimiter",), "parquet": ("delimiter", "encoding")}[format]
    if found := [name for name in meaningless if getattr(given, name) is not None]:
        raise DataError(f"a {format} file has no {found[0]}", place=place, hint=f"leave out `{found[0]}`")


# --- columns --------------------------------------------------------------------------------------------


def _flat(table: pa.Table, place: str) -> pa.Table:
    """The table with a name for each column, and a column for each field of nested ones.

    Raises:
        DataError: Two columns have one name.
    """
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    names = [name if name.strip() else f"{NAMELESS}{i}" for i, name in enumerate(table.column_names, 1)]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(
            f"several columns have the name {twice[0]!r}",
            place=place,
            found=f"{names.count(twice[0])} of {len(names)} columns",
            hint="give each column a name of its own",
        )
    return table.rename_columns(names)


def _with_texts(table: pa.Table, text: Collection[str], path: str | Path) -> pa.Table:
    """The table with some columns as text."""
    for name in set(text) & set(table.column_names):
        index = table.column_names.index(name)
        try:
            table = table.set_column(index, name, table.column(name).cast(pa.string()))
        except pa.ArrowException:
            kind, expected = table.column(name).type, "strings or numbers"
            raise DataError(
                f"column {name!r} holds no text", place=str(path), found=kind, expected=expected
            ) from None
    return table


# --- files ----------------------------------------------------------------------------------------------


def write_table(table: pa.Table, file: Any, format: str, *, header: bool = True) -> None:
    """Write ``table`` as csv, jsonl or parquet to an open binary file; csv with or without a header."""
    match format:
        case "csv":
            options = pa.csv.WriteOptions(quoting_style="needed", include_header=header)
            pa.csv.write_csv(table, file, options)
        case "jsonl":
            for chunk in table.to_batches(max_chunksize=8192):
                for line in chunk.to_pylist():
                    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        case "parquet":
            pa.parquet.write_table(table, file)
        case _:
            raise ValueError(format)


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Open a local file or fsspec URL for reading bytes.

    Raises:
        DataError: It does not exist, is no file, or cannot be opened.
    """
    refuse_special(path, DataError)
    try:
        file = fsspec.open(str(path), "rb").open()
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), hint="check the path") from None
    except (OSError, ValueError, ImportError) as error:
        raise DataError("cannot be opened", place=str(path), found=str(error)) from None
    with file:
        yield file
