"""The manifest as a table file: csv, JSON lines or parquet, a row a sample."""

from typing import IO

import pyarrow as pa

from ogacli.base.registry import type_name
from ogacli.base.tables import write_table
from ogacli.run.trim import FileFormat, formats


class _Table(FileFormat):
    """Every sample with its fate."""

    def write(self, manifest: pa.Table, file: IO[bytes]) -> None:
        """Write all columns of the manifest."""
        write_table(manifest, file, type_name(self))


@formats.register_as("csv")
class Csv(_Table):
    """A line a sample."""

    suffixes = (".csv",)


@formats.register_as("jsonl")
class JsonLines(_Table):
    """An object a sample."""

    suffixes = (".jsonl",)


@formats.register_as("parquet")
class Parquet(_Table):
    """A row a sample."""

    suffixes = (".parquet",)
