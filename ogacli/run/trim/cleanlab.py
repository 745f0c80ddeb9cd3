"""Label issues in the columns of cleanlab, as its ``CleanLearning.fit(label_issues=..)`` takes them."""

from __future__ import annotations

from typing import IO

import pyarrow as pa

from ogacli.base.tables import write_table
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import check_classes, findings
from ogacli.run.trim.job import Job


@formats.register
class Cleanlab(FileFormat):
    """A csv or parquet file with a row for every sample.

    ``is_label_issue`` is whether it is flagged; ``label_quality`` the probability that the given label is
    right, so that low is bad; ``given_label`` and ``predicted_label`` are names of classes.
    """

    own_rows = False

    def check(self, job: Job) -> None:
        """Refuse samples that do not have one class each."""
        check_classes(job, "cleanlab")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all samples, in the order of the run."""
        columns: dict[str, list[object]] = {
            name: [] for name in ("id", "is_label_issue", "label_quality", "given_label", "predicted_label")
        }
        for one in findings(job):
            values = (one.id, one.issue, one.quality, one.label, one.suggested or one.label)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
        kind = "parquet" if job.destination.suffix.lower() == ".parquet" else "csv"
        write_table(pa.table(columns), file, kind)
