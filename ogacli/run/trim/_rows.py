"""The typed rows of a source, whatever its files are.

In: a job. Out: ``TypedRows``, for formats that are not those of the source.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from ogacli.base.registry import type_name
from ogacli.data.originals._table_file import TableFile
from ogacli.data.originals.huggingface import HuggingFace
from ogacli.errors import RunError
from ogacli.run.trim._typed_rows import TypedRows, check_columns, known_values
from ogacli.run.trim.job import Job


def table_file(job: Job) -> TableFile | None:
    """The table that the rows are in; None where they are in no table of one file."""
    return job.original if isinstance(job.original, TableFile) else None


def check_rows_of_columns(job: Job, format: str) -> None:
    """Check that the samples are rows with columns.

    Raises:
        RunError: They are not.
    """
    if not has_columns(job):
        raise job.without_rows(format)


def has_columns(job: Job) -> bool:
    """Whether the samples are rows with columns."""
    return isinstance(job.original, TableFile | HuggingFace)


def source_batches(job: Job) -> Iterable[pa.RecordBatch]:
    """All rows of a source that has columns, in order."""
    if isinstance(job.original, TableFile):
        return job.original.batches()
    rows = job.source().rows()
    assert rows is not None
    return rows.batches()


def typed_rows(job: Job) -> TypedRows:
    """The rows that stay, with typed columns.

    Raises:
        DataError: The source cannot be read.
        RunError: It has no rows with columns.
    """
    original, chosen = job.original, job.chosen
    if isinstance(original, TableFile):
        blocks = original.batches()
        check_columns(blocks.schema, original.label_columns, original.path)
        known: dict[str, Any] = {}
        if chosen.examples and isinstance(original.label, str):
            known = known_values(blocks, original.label, chosen)
        return TypedRows(original, chosen, blocks.schema, blocks, original.path, known)
    if isinstance(original, HuggingFace):
        rows = job.source().rows()
        assert rows is not None
        known = rows.class_values()
        if not known and chosen.examples and isinstance(original.label, str):
            known = known_values(rows.batches(), original.label, chosen)
        return TypedRows(original, chosen, rows.schema, rows.batches(), original.path or "dataset", known)
    raise RunError("the samples are no rows with columns", found=type_name(original))


def plain(value: Any) -> Any:
    """A value of a column as JSON knows it: times in ISO 8601, bytes in base64."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def shown(value: Any) -> str:
    """A value of a column as the text of a csv cell; lists and objects as JSON."""
    found = plain(value)
    if found is None:
        return ""
    if isinstance(found, bool):
        return str(found).lower()
    return json.dumps(found, ensure_ascii=False) if isinstance(found, list | dict) else str(found)
