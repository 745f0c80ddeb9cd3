"""The report as a self-contained HTML page that loads nothing from a network, and in which people decide.

The content security policy of the page allows its own style and its own script (by hash) and nothing else.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ogacli.base import wording
from ogacli.run import reports
from ogacli.run.directory import Run
from ogacli.run.reports import cells, content, gains, sentences
from ogacli.run.reports.page import page, part
from ogacli.run.reports.plot import plot
from ogacli.run.reports.review import Review, embedded, review, script
from ogacli.verdict.reasons import MEANINGS

_CLASSES, _QUARANTINED, _LINES, _CELLS = 50, 50, 80, 50


@reports.formats.register
def render(run: Run) -> str:
    """The page; the same run gives the same bytes."""
    return page_of(run, review(run) if run.summary.flagged else None)


def page_of(
    run: Run, shown: Review | None, served: Mapping[str, Any] | None = None, decisions_file: str = ""
) -> str:
    """The page.

    Args:
        run: The run.
        shown: The samples to decide on; None where nothing is flagged.
        served: What a server adds to the data: ``decisions``, those made before, and ``page``, its number.
        decisions_file: Where the server saves decisions.
    """
    program = script()
    return page(
        "ogacli.run.reports",
        "report.html.j2",
        **_content(run),
        review=shown,
        serve=served is not None,
        decisions_file=decisions_file,
        data="" if shown is None else embedded({**shown.data, **(served or {})}),
        script=program,
        script_hash=base64.b64encode(hashlib.sha256(program.encode()).digest()).decode(),
    )


def _content(run: Run) -> dict[str, Any]:
    summary = run.summary
    return {
        "summary": summary,
        "headline": sentences.headline(summary),
        "flagged_share": sentences.flagged_share(summary),
        "budget": wording.budget(summary.budget),
        "checkpoint": sentences.checkpoint(summary),
        "results": [*sentences.results(summary), *sentences.notes(summary)],
        "what": content.what(run),
        "meanings": MEANINGS,
        "checkpoint_columns": content.CHECKPOINT_COLUMNS,
        "checkpoints": content.checkpoint_rows(summary),
        "quarantined": content.samples(content.quarantined_rows(run, _QUARANTINED)),
        "cell_header": cells.header(summary),
        "cell_rows": cells.rows(summary, _CLASSES),
        "cell_columns": cells.COLUMNS,
        "cells": cells.first_cells(run, _CELLS),
        "classes": content.class_shares(summary, _CLASSES),
        "all_classes": sum(one.samples > 0 for one in summary.classes),
        "plot": None if summary.histogram is None else plot(summary.histogram, summary.cut),
        "benefit": summary.benefit,
        "benefits": [] if summary.benefit is None else gains.sentences(summary.benefit),
        "gains": None if summary.benefit is None else gains.drawing(summary.benefit),
        "gain_header": gains.HEADER,
        "gain_row": gains.row,
        "evaluated": content.EVALUATED,
        "evaluations": content.evaluations,
        "figures": content.figures,
        "config": list(content.flat(run.config))[:_LINES],
        "provenance": list(content.flat(run.provenance))[:_LINES],
        "style": part("report.css"),
    }
