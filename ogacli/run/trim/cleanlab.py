"""Label issues in the columns of cleanlab, as its ``CleanLearning.fit(label_issues=..)`` takes them."""

from __future__ import annotations

import json
from typing import IO, Any

import pyarrow as pa

from ogacli.base.tables import write_table
from ogacli.run.label_kind import label_kind
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import check_kind, findings
from ogacli.run.trim.job import Job

_COLUMNS = ("id", "is_label_issue", "label_quality", "given_label", "predicted_label")
_CLASSES = ("given_class", "predicted_class")


@formats.register
class Cleanlab(FileFormat):
    """A csv or parquet file with a row for every sample.

    ``is_label_issue`` is whether it is flagged; ``label_quality`` the probability that the given label is
    right, so that low is bad; ``given_label`` and ``predicted_label`` are indices of classes, as cleanlab has
    them, and ``given_class`` and ``predicted_class`` their names. Of several classes, and of the tags of
    words, they are lists, which are JSON in a csv file; of a regression numbers, without names.
    """

    own_rows = False

    def check(self, job: Job) -> None:
        """Refuse samples that have no classes and no numbers."""
        check_kind(job, "cleanlab", "class", "classes", "tags", "numbers")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all samples, in the order of the run."""
        kind = "parquet" if job.destination.suffix.lower() == ".parquet" else "csv"
        labels = label_kind(job.run)
        index = {one.name: i for i, one in enumerate(job.run.summary.classes)}
        names = _COLUMNS if labels == "numbers" else (*_COLUMNS, *_CLASSES)
        columns: dict[str, list[object]] = {name: [] for name in names}
        for one in findings(job):
            new = one.label if one.suggested is None else one.suggested
            both = [one.label, new]
            values: list[Any] = [one.id, one.issue, one.quality]
            if labels != "numbers":
                values += [_indices(label, index, in_turn=labels == "tags") for label in both]
            for column, value in zip(columns.values(), [*values, *both], strict=True):
                column.append(json.dumps(value) if kind == "csv" and isinstance(value, list) else value)
        write_table(pa.table(columns), file, kind)


def _indices(label: Any, index: dict[str, int], *, in_turn: bool) -> Any:
    """Indices of classes: of tags in their order, of several classes in that of the classes."""
    if not isinstance(label, list):
        return index.get(label)
    found = [index[one] for one in label]
    return found if in_turn else sorted(found)
