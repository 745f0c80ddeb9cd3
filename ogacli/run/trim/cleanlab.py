"""Label issues in the columns of cleanlab, as its ``CleanLearning.fit(label_issues=..)`` takes them."""

from __future__ import annotations

import json
from typing import IO, Any

import pyarrow as pa

from ogacli.base.tables import write_table
from ogacli.errors import RunError
from ogacli.run.label_kind import label_kind, label_text, parts_of
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import findings
from ogacli.run.trim.job import Job

_COLUMNS = ("id", "is_label_issue", "label_quality", "given_label", "predicted_label")
_CLASSES = ("given_class", "predicted_class")


@formats.register
class Cleanlab(FileFormat):
    """A csv or parquet file with a row for every sample.

    ``is_label_issue`` is whether it is flagged; ``label_quality`` the probability that the given label is
    right, so that low is bad; ``given_label`` and ``predicted_label`` are indices of classes, as cleanlab has
    them, and ``given_class`` and ``predicted_class`` their names. Of several classes they are lists, which
    are JSON in a csv file; of a regression numbers, without names.
    """

    own_rows = False

    def check(self, job: Job) -> None:
        """Refuse samples that have no classes and no numbers."""
        if label_kind(job.run) is None:
            raise RunError(
                "the labels are no classes and no numbers",
                place="--format cleanlab",
                hint="write the fate of every sample: --manifest FILE",
            )

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write all samples, in the order of the run."""
        kind = "parquet" if job.destination.suffix.lower() == ".parquet" else "csv"
        labels = label_kind(job.run)
        index = {one.name: i for i, one in enumerate(job.run.summary.classes)}
        names = _COLUMNS if labels == "numbers" else (*_COLUMNS, *_CLASSES)
        columns: dict[str, list[object]] = {name: [] for name in names}
        for one in findings(job):
            new = one.label if one.suggested is None else one.suggested
            both = [_parts(label, labels) for label in (one.label, new)]
            values: list[Any] = [one.id, one.issue, one.quality]
            if labels != "numbers":
                values += [_indices(label, index) for label in both]
            for column, value in zip(columns.values(), [*values, *both], strict=True):
                column.append(json.dumps(value) if kind == "csv" and isinstance(value, list) else value)
        write_table(pa.table(columns), file, kind)


def _parts(label: Any, kind: str | None) -> Any:
    """A label of a run or of a decision: a class, a list of classes, a number or a list of numbers."""
    if kind == "class" or label is None:
        return label
    parts = parts_of(label_text(label) or "")
    if kind == "classes":
        return parts
    numbers = [float(one) for one in parts]  # of the digits that the source has, and not of float32
    return numbers if len(numbers) > 1 else numbers[0]


def _indices(label: Any, index: dict[str, int]) -> Any:
    return sorted(index[one] for one in label) if isinstance(label, list) else index.get(label)
