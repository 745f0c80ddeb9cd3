"""Tables in files: csv, jsonl and parquet in and out, local or through fsspec.

In: a path or URL; the suffix says the format. Out: a ``pyarrow.Table``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ogacli.errors import DataError

FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def read_table(path: str | Path) -> pa.Table:
    """Read a csv, tsv, jsonl or parquet file.

    Raises:
        DataError: The file is missing, of no known format, or does not parse.
    """
    suffix = Path(str(path)).suffix.lower()
    if suffix not in FORMATS:
        raise DataError(
            "not a table",
            place=str(path),
            found=f"suffix {suffix!r}",
            expected=f"one of {', '.join(FORMATS)}",
        )
    with opened(path) as file:
        try:
            match FORMATS[suffix]:
                case "csv":
                    options = pa.csv.ParseOptions(
                        delimiter="\t" if suffix == ".tsv" else ",", newlines_in_values=True
                    )
                    return pa.csv.read_csv(file, parse_options=options)
                case "jsonl":
                    return pa.Table.from_pylist([json.loads(line) for line in file if line.strip()])
                case _:
                    return pa.parquet.read_table(file)
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, AttributeError) as error:
            raise DataError("does not parse", place=str(path), found=str(error).splitlines()[0]) from None


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
