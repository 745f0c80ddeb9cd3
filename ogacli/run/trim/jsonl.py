"""The rows that stay as JSON lines."""

from __future__ import annotations

from typing import IO

from ogacli.base.tables.json_text import text
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._json_rows import JsonRows
from ogacli.run.trim._rows import check_rows_of_columns, plain, table_file, typed_rows
from ogacli.run.trim.job import Job


@formats.register
class JsonLines(FileFormat):
    """An object a row; lines of a jsonl file stay as they are."""

    suffixes = (".jsonl", ".ndjson")

    def check(self, job: Job) -> None:
        """Refuse samples that are no rows."""
        check_rows_of_columns(job, "jsonl")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all keys, in order."""
        source = table_file(job)
        if source is not None and source.kind == "jsonl":
            rows = JsonRows(source, job.chosen)
            rows.write(file, job.progress)
            job.added(rows.added)
            return
        typed = typed_rows(job)
        with job.progress.bar("writing rows", len(job.chosen.positions)) as advance:
            for batch in typed.batches():
                for row in batch.to_pylist():
                    file.write(text(plain(row)).encode() + b"\n")
                advance(len(batch))
        job.added(typed.added)
