"""The report as one JSON document, for other programs."""

import json
import math
from typing import Any

import pyarrow as pa

from ogacli.run import reports
from ogacli.run.directory import Run
from ogacli.run.reports import content

SCHEMA_VERSION = 1
_SAMPLES = 100


@reports.formats.register
def render(run: Run) -> str:
    """Summary, provenance, config, and the rows of at most 100 flagged and 100 quarantined samples."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "summary": run.summary.model_dump(mode="json"),
        "provenance": run.provenance,
        "config": _plain(run.config),
        "flagged": _rows(content.flagged_rows(run, _SAMPLES)),
        "quarantined": _rows(content.quarantined_rows(run, _SAMPLES)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _plain(table.to_pylist())
    return rows


def _plain(value: Any) -> Any:
    """A value that JSON can hold: null for numbers that are not finite, text for dates and bytes."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
