"""Read and write tables in csv, jsonl and parquet files, local or through fsspec.

In: a path or URL, whose suffix gives the format. Out: a ``pyarrow.Table``.
"""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ogacli.errors import DataError

FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_FIRST = 100
"""Lines of a jsonl file that are read to find its columns."""


def read_table(path: str | Path, *, text: Collection[str] = ()) -> pa.Table:
    """Read a csv, tsv, jsonl or parquet file.

    Args:
        path: A local path or fsspec URL.
        text: Columns that are read as text even where all values are numbers: ``007`` stays ``007``.

    Raises:
        DataError: The file is missing, of no known format, or does not parse.
    """
    with _parsed(path) as (file, format):
        match format:
            case "csv":
                convert = pa.csv.ConvertOptions(column_types={name: pa.string() for name in text})
                table = pa.csv.read_csv(file, parse_options=_csv(path), convert_options=convert)
            case "jsonl":
                table = _read_jsonl(file, str(path))
            case _:
                table = pa.parquet.read_table(file)
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


def column_names(path: str | Path) -> list[str]:
    """The names of the columns of a table; only its beginning is read.

    Raises:
        DataError: As in ``read_table``.
    """
    with _parsed(path) as (file, format):
        match format:
            case "csv":
                return list(pa.csv.open_csv(file, parse_options=_csv(path)).schema.names)
            case "jsonl":
                return list(_read_jsonl(itertools.islice(file, _FIRST), str(path)).column_names)
            case _:
                return list(pa.parquet.read_schema(file).names)


@contextmanager
def _parsed(path: str | Path) -> Iterator[tuple[Any, str]]:
    """The open file and its format; errors of parsing in the block become ``DataError``."""
    suffix = Path(str(path)).suffix.lower()
    if suffix not in FORMATS:
        expected = f"one of {', '.join(FORMATS)}"
        raise DataError("not a table", place=str(path), found=f"suffix {suffix!r}", expected=expected)
    with opened(path) as file:
        try:
            yield file, FORMATS[suffix]
        except (pa.ArrowException, ValueError, AttributeError) as error:
            raise DataError("does not parse", place=str(path), found=str(error).splitlines()[0]) from None


def _csv(path: str | Path) -> pa.csv.ParseOptions:
    tabs = str(path).lower().endswith(".tsv")
    return pa.csv.ParseOptions(delimiter="\t" if tabs else ",", newlines_in_values=True)


def _read_jsonl(file: Iterable[bytes], place: str) -> pa.Table:
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError("not JSON", place=f"{place}:{number}", found=str(error)) from None
        if not isinstance(row, dict):
            raise DataError(
                "not a JSON object", place=f"{place}:{number}", found=type(row).__name__, expected="{..}"
            )
        names.update(dict.fromkeys(row))
        rows.append(row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def write_table(table: pa.Table, file: Any, format: str) -> None:
    """Write ``table`` as csv, jsonl or parquet to an open binary file."""
    match format:
        case "csv":
            pa.csv.write_csv(table, file, pa.csv.WriteOptions(quoting_style="needed"))
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
        DataError: It does not exist or cannot be opened.
    """
    try:
        file = fsspec.open(str(path), "rb").open()
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), hint="check the path") from None
    except (OSError, ValueError, ImportError) as error:
        raise DataError("cannot be opened", place=str(path), found=str(error)) from None
    with file:
        yield file
