"""The manifest as parquet: a row a sample."""

from typing import IO

import pyarrow as pa

from ogacli.base.tables import write_table
from ogacli.run.trim import FileFormat, formats


@formats.register
class Parquet(FileFormat):
    """Every sample with its fate."""

    suffixes = (".parquet",)

    def write(self, manifest: pa.Table, file: IO[bytes]) -> None:
        """Write all columns of the manifest."""
        write_table(manifest, file, "parquet")
