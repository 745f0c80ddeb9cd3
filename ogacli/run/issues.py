"""``issues.parquet``: the cells of labels that are probably wrong, a row each.

A cell is a class of a sample with any number of classes, a target of a regression, or a word with a tag. In:
a verdict and its samples. Out: a table, most probable first, and counts by class or target. All cells above
one half are in it, and at least the first 10,000 of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ogacli.base.arrow import empty
from ogacli.run.words import has_words, word_columns

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.verdict.judge import Verdict

GIVEN, FORGOTTEN, TARGET = "wrongly given", "forgotten", "wrong target"
"""What is wrong with a cell."""
_LEAST = 10_000
"""At least so many cells are written, where there are as many."""


def issue_schema(values: pa.DataType | None = None) -> pa.Schema:
    """The columns.

    Args:
        values: The type of given and suggested values: numbers by default, texts for class names.
    """
    values = values or pa.float64()
    return pa.schema(
        [
            ("id", pa.string()),
            ("position", pa.int64()),
            ("cell", pa.string()),
            ("index", pa.int64()),
            ("given", values),
            ("suggested", values),
            ("probability", pa.float64()),
            ("reason", pa.string()),
        ]
    )


def issues_table(verdict: Verdict, samples: Samples) -> pa.Table:
    """The judged cells, most probably wrong first; empty where labels have no cells."""
    cells, tagged = verdict.findings.cells, has_words(samples)
    schema = issue_schema(pa.string() if tagged else None)
    if cells is None:
        return empty(schema)
    wrong = np.where((cells.index >= 0).numpy(), cells.wrong.double().numpy(), -1.0)
    wrong[~verdict.findings.scored.numpy()] = -1.0
    order = np.argsort(-wrong, axis=None, kind="stable")
    count = max(int((wrong > 0.5).sum()), min(_LEAST, int((wrong >= 0).sum())))
    row, place = np.unravel_index(order[:count], wrong.shape)
    index = cells.index.numpy()[row, place]
    suggested = cells.suggested.double().numpy()[row, place]
    columns = {
        "id": samples.ids.take(pa.array(row)),
        "position": samples.positions.numpy()[row],
        "index": index,
        "probability": wrong[row, place],
    }
    if tagged:
        columns |= word_columns(samples, row, index, suggested.astype(np.int64))
    else:
        given = samples.labels.reshape(len(samples), -1).double().numpy()[row, index]
        columns |= {
            "cell": pa.array(cell_names(samples), pa.string()).take(pa.array(index)),
            "given": given,
            "suggested": suggested,
            "reason": [_reason(samples, value) for value in given],
        }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def cell_names(samples: Samples) -> list[str]:
    """The classes; or the targets by number, from 0."""
    cells = samples.labels[:1].numel()
    return list(samples.classes) or [f"target {i}" for i in range(cells)]


def _reason(samples: Samples, given: float) -> str:
    if not samples.classes:
        return TARGET
    return GIVEN if given > 0 else FORGOTTEN
