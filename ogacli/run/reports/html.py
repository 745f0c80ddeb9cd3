"""The report as a self-contained HTML page that loads nothing from a network.

The content security policy of the page allows its own style and its own script (by hash) and nothing else.
"""

import base64
import hashlib
from typing import Any

from ogacli.run import reports
from ogacli.run.directory import Run
from ogacli.run.reports import content, gains, pictures
from ogacli.run.reports.page import page, part
from ogacli.run.reports.plot import plot
from ogacli.verdict.reasons import MEANINGS

_SAMPLES, _CLASSES, _QUARANTINED, _LINES = 100, 50, 50, 80


@reports.formats.register
def render(run: Run) -> str:
    """The page; the same run gives the same bytes."""
    return page("ogacli.run.reports", "report.html.j2", **_content(run))


def _content(run: Run) -> dict[str, Any]:
    summary = run.summary
    flagged = content.samples(content.flagged_rows(run, _SAMPLES))
    positions = [one.position for one in flagged]
    script = part("report.js")
    return {
        "summary": summary,
        "what": content.what(run),
        "meanings": MEANINGS,
        "asides": [*content.asides(summary), *content.notes(summary)],
        "checkpoint_columns": content.CHECKPOINT_COLUMNS,
        "checkpoints": content.checkpoint_rows(summary),
        "flagged": flagged,
        "shown": pictures.shown(run.previews, positions, content.TEXT_LENGTH),
        "nothing_shown": pictures.Shown(),
        "quarantined": content.samples(content.quarantined_rows(run, _QUARANTINED)),
        "classes": content.class_shares(summary, _CLASSES),
        "all_classes": sum(one.samples > 0 for one in summary.classes),
        "plot": None if summary.histogram is None else plot(summary.histogram, summary.cut),
        "benefit": summary.benefit,
        "benefits": [] if summary.benefit is None else gains.sentences(summary.benefit),
        "gains": None if summary.benefit is None else gains.drawing(summary.benefit),
        "gain_header": gains.HEADER,
        "gain_row": gains.row,
        "evaluated": content.EVALUATED,
        "figures": content.figures,
        "config": list(content.flat(run.config))[:_LINES],
        "provenance": list(content.flat(run.provenance))[:_LINES],
        "style": part("report.css"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
