"""The report as one JSON document, for other programs."""

import json
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
        "config": run.config,
        "flagged": _rows(content.flagged_rows(run, _SAMPLES)),
        "quarantined": _rows(content.quarantined_rows(run, _SAMPLES)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
