"""The rows that stay as a csv or tsv file."""

from __future__ import annotations

from typing import IO, ClassVar

from ogacli.base.tables.csv_text import cell
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._csv_rows import CsvRows
from ogacli.run.trim._rows import check_rows_of_columns, shown, table_file, typed_rows
from ogacli.run.trim.job import Job


class _Separated(FileFormat):
    """The dialect of the source where it is such a file; otherwise UTF-8, with line feeds at line ends."""

    delimiter: ClassVar[str]
    own_suffix: ClassVar[str]

    def check(self, job: Job) -> None:
        """Refuse samples that are no rows."""
        check_rows_of_columns(job, self.own_suffix.lstrip("."))

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all columns, in order."""
        source = table_file(job)
        if source is not None and source.kind == "csv":
            same = source.path.lower().endswith(self.own_suffix)
            rows = CsvRows(source, job.chosen, None if same else self.delimiter)
            rows.write(file, job.progress)
            job.added(rows.added)
            return
        typed = typed_rows(job)
        with job.progress.bar("writing rows", len(job.chosen.positions)) as advance:
            file.write(self._line(typed.schema.names))
            for batch in typed.batches():
                columns = [column.to_pylist() for column in batch.columns]
                for row in zip(*columns, strict=True):
                    file.write(self._line([shown(value) for value in row]))
                advance(len(batch))
        job.added(typed.added)

    def _line(self, texts: list[str]) -> bytes:
        line = self.delimiter.join(cell(text, self.delimiter) for text in texts)
        return (line or '""').encode() + b"\n"


@formats.register_as("csv")
class Csv(_Separated):
    """Commas between columns, or what the source has between them."""

    suffixes = (".csv",)
    delimiter, own_suffix = ",", ".csv"


@formats.register_as("tsv")
class Tsv(_Separated):
    """Tabs between columns."""

    suffixes = (".tsv",)
    delimiter, own_suffix = "\t", ".tsv"
