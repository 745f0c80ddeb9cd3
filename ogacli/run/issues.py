"""``issues.parquet``: the cells of labels that are probably wrong, a row each.

A cell is a class of a sample with any number of classes, or a target of a regression. In: a verdict and its
samples. Out: a table, most probable first, and counts by class or target. All cells above one half are in it,
and at least the first 10,000 of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.verdict.judge import Verdict

GIVEN, FORGOTTEN, TARGET = "wrongly given", "forgotten", "wrong target"
"""What is wrong with a cell."""
ISSUES = pa.schema(
    [
        ("id", pa.string()),
        ("position", pa.int64()),
        ("cell", pa.string()),
        ("given", pa.float64()),
        ("suggested", pa.float64()),
        ("probability", pa.float64()),
        ("reason", pa.string()),
    ]
)
_LEAST = 10_000
"""At least so many cells are written, where there are as many."""


def issues_table(verdict: Verdict, samples: Samples) -> pa.Table:
    """The judged cells, most probably wrong first; empty where labels have no cells."""
    cells = verdict.findings.cells
    if cells is None:
        return ISSUES.empty_table()
    wrong = np.where((cells.index >= 0).numpy(), cells.wrong.double().numpy(), -1.0)
    wrong[~verdict.findings.scored.numpy()] = -1.0
    order = np.argsort(-wrong, axis=None, kind="stable")
    count = max(int((wrong > 0.5).sum()), min(_LEAST, int((wrong >= 0).sum())))
    row, place = np.unravel_index(order[:count], wrong.shape)
    index = cells.index.numpy()[row, place]
    given = samples.labels.reshape(len(samples), -1).double().numpy()[row, index]
    return pa.table(
        {
            "id": samples.ids.take(pa.array(row)),
            "position": samples.positions.numpy()[row],
            "cell": pa.array(cell_names(samples), pa.string()).take(pa.array(index)),
            "given": given,
            "suggested": cells.suggested.double().numpy()[row, place],
            "probability": wrong[row, place],
            "reason": [_reason(samples, value) for value in given],
        },
        schema=ISSUES,
    )


def cell_names(samples: Samples) -> list[str]:
    """The classes; or the targets by number, from 0."""
    cells = samples.labels[:1].numel()
    return list(samples.classes) or [f"target {i}" for i in range(cells)]


def _reason(samples: Samples, given: float) -> str:
    if not samples.classes:
        return TARGET
    return GIVEN if given > 0 else FORGOTTEN
