"""Label issues in the columns of cleanlab, as its ``CleanLearning.fit(label_issues=..)`` takes them."""

from __future__ import annotations

from typing import IO

import pyarrow as pa

from ogacli.base.tables import write_table
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import check_classes, findings
from ogacli.run.trim.job import Job

_COLUMNS = (
    *("id", "is_label_issue", "label_quality"),
    *("given_label", "predicted_label", "given_class", "predicted_class"),
)


@formats.register
class Cleanlab(FileFormat):
    """A csv or parquet file with a row for every sample.

    ``is_label_issue`` is whether it is flagged; ``label_quality`` the probability that the given label is
    right, so that low is bad; ``given_label`` and ``predicted_label`` are indices of classes, as cleanlab has
    them, and ``given_class`` and ``predicted_class`` their names.
    """

    own_rows = False

    def check(self, job: Job) -> None:
        """Refuse samples that do not have one class each."""
        check_classes(job, "cleanlab")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all samples, in the order of the run."""
        index = {one.name: i for i, one in enumerate(job.run.summary.classes)}
        columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
        for one in findings(job):
            new = one.suggested or one.label
            values = (one.id, one.issue, one.quality, index[one.label], index.get(new), one.label, new)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
        kind = "parquet" if job.destination.suffix.lower() == ".parquet" else "csv"
        write_table(pa.table(columns), file, kind)
