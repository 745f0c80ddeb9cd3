"""The rows that stay as a parquet file."""

from __future__ import annotations

from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet

from ogacli.errors import RunError
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._rows import check_rows_of_columns, table_file, typed_rows
from ogacli.run.trim.job import Job


@formats.register
class Parquet(FileFormat):
    """Types, categories, time zones, the metadata of pandas and the compression of a parquet file stay."""

    suffixes = (".parquet",)

    def check(self, job: Job) -> None:
        """Refuse samples that are no rows."""
        check_rows_of_columns(job, "parquet")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all columns, in order."""
        typed = typed_rows(job)
        source = table_file(job)
        packed = (
            _compression(source.stored()) if source is not None and source.kind == "parquet" else "snappy"
        )
        try:
            with (
                pyarrow.parquet.ParquetWriter(file, typed.schema, compression=packed) as writer,
                job.progress.bar("writing rows", len(job.chosen.positions)) as advance,
            ):
                for batch in typed.batches():
                    if len(batch):
                        writer.write_batch(batch)
                    advance(len(batch))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise RunError(
                "a column cannot be written to a parquet file",
                place=f"--to {job.destination}",
                found=str(error).partition("\n")[0],
                hint="write a .jsonl file",
            ) from None
        job.added(typed.added)


def _compression(stored: Any) -> dict[str, str] | str:
    """The compression of each column."""
    if not stored.num_row_groups:
        return "snappy"
    group = stored.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    known = ("NONE", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD")
    return {
        one.path_in_schema: (one.compression if one.compression in known else "NONE")
        .replace("UNCOMPRESSED", "NONE")
        .lower()
        for one in columns
    }
