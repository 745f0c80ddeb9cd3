"""``issues.parquet``: the cells of labels that are probably wrong, a row each, the most probable first.

A cell is a part of a label that is judged by itself: a class of a sample with any number of classes, a target
of a regression, the tag of a word, a region of a mask, a box. In: a verdict and its samples, or a run. Out: a
table, and the rows of a run. All cells that are more probably wrong than right are in it, and at least the
first 10,000 of all.

Readers take every kind: ``cell`` names the cell, ``given`` and ``suggested`` are its values (0 or 1, numbers,
or class names), ``index`` counts it within the label, and ``box`` says where it is in a picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ogacli.base.arrow import empty
from ogacli.run import boxes, words
from ogacli.run.boxes import SUGGESTED_BOX, box_columns, has_boxes
from ogacli.run.regions import WRONG_REGION, has_regions, region_columns
from ogacli.run.words import has_words, word_columns
from ogacli.verdict.boxes import BoxFindings
from ogacli.verdict.regions import RegionFindings

if TYPE_CHECKING:  # reading a run needs no torch
    from pathlib import Path

    from ogacli.data import Samples
    from ogacli.run.directory import Run
    from ogacli.verdict.judge import Verdict

FILE = "issues.parquet"
GIVEN, FORGOTTEN, TARGET = "wrongly given", "forgotten", "wrong target"
MEANINGS = {
    GIVEN: "the label has a class that the sample should not have",
    FORGOTTEN: "the label lacks a class that the sample should have",
    TARGET: "the number is another one than the model's error explains",
    **words.MEANINGS,
    WRONG_REGION: "another class of its pixels is more probable",
    **boxes.MEANINGS,
}
"""The reasons of each kind of cell."""
ISSUE_COLUMNS = (
    *("id", "position", "cell", "index", "given", "suggested", "low", "high", "box", "probability", "reason"),
)
DOUBTFUL = 0.5
"""Cells above this probability are more probably wrong than right."""
_LEAST = 10_000
"""At least so many cells are written, where there are as many."""
_TOGETHER = 1 << 14
"""Rows in a row group."""


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
            ("low", pa.float64()),
            ("high", pa.float64()),
            ("box", pa.list_(pa.float64())),
            ("probability", pa.float64()),
            ("reason", pa.string()),
        ]
    )


def issues_table(verdict: Verdict, samples: Samples) -> pa.Table:
    """The judged cells, most probably wrong first; empty where labels have no cells."""
    cells, tagged = verdict.findings.cells, has_words(samples)
    named = tagged or has_regions(samples) or has_boxes(samples)
    schema = issue_schema(pa.string() if named else None)
    if has_boxes(samples):
        schema = schema.append(SUGGESTED_BOX)
    if cells is None:
        return empty(schema)
    wrong = np.where((cells.index >= 0).numpy(), cells.wrong.double().numpy(), -1.0)
    wrong[~verdict.findings.scored.numpy()] = -1.0
    order = np.argsort(-wrong, axis=None, kind="stable")
    count = max(int((wrong > DOUBTFUL).sum()), min(_LEAST, int((wrong >= 0).sum())))
    row, place = np.unravel_index(order[:count], wrong.shape)
    index = cells.index.numpy()[row, place]
    suggested, margin = (one.double().numpy()[row, place] for one in (cells.suggested, cells.margin))
    columns = {
        "id": samples.ids.take(pa.array(row)),
        "position": samples.positions.numpy()[row],
        "index": index,
        "low": pa.array(suggested - margin, mask=margin <= 0),
        "high": pa.array(suggested + margin, mask=margin <= 0),
        "box": pa.nulls(count, pa.list_(pa.float64())),
        "probability": wrong[row, place],
    }
    if isinstance(cells, BoxFindings):
        columns |= box_columns(cells, samples, row, place)
    elif isinstance(cells, RegionFindings):
        columns |= region_columns(samples, cells.region.numpy()[row, place], suggested.astype(np.int64))
    elif tagged:
        columns |= word_columns(samples, row, index, suggested.astype(np.int64))
    else:
        given = samples.labels.reshape(len(samples), -1).double().numpy()[row, index]
        columns |= {
            "cell": pa.array(cell_names(samples), pa.string()).take(pa.array(index)),
            "given": given,
            "suggested": suggested,
            "reason": [reason_of(samples, value) for value in given],
        }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def write_issues(table: pa.Table, folder: Path) -> None:
    """Write the file into the folder of a run."""
    pa.parquet.write_table(table, folder / FILE, row_group_size=_TOGETHER)


def cell_names(samples: Samples) -> list[str]:
    """The classes, of taggers the tags; or the targets by number, from 0."""
    cells = samples.labels[:1].numel()
    return list(samples.classes) or [f"target {i}" for i in range(cells)]


def reason_of(samples: Samples, given: float) -> str:
    """What is wrong with a cell of this value, if it is wrong."""
    if not samples.classes:
        return TARGET
    return GIVEN if given > 0 else FORGOTTEN


def issues_of(run: Run, above: float = DOUBTFUL) -> Iterator[pa.Table]:
    """The cells of a run that are wrong with a higher probability, the most probable first, part by part.

    Raises:
        RunError: The file is not there, or not as a scan writes it.
    """
    for part in run.issue_parts() if run.summary.cells else ():
        found = part.filter(pc.field("probability") > above)
        if len(found):
            yield found
        if len(found) < len(part):
            return


def counted(table: pa.Table) -> Counter[tuple[str, str]]:
    """How many cells there are of each class or target and each reason.

    A cell whose values are class names counts for the given one, or for the suggested one where none is
    given; another one for the class or target that it is.
    """
    names = table["cell"]
    if pa.types.is_string(table.schema.field("given").type):
        names = pc.coalesce(table["given"], table["suggested"], names)
    pairs = pa.table({"name": names, "reason": table["reason"]}).group_by(["name", "reason"])
    found = pairs.aggregate([([], "count_all")]).to_pydict()
    keys = zip(found["name"], found["reason"], strict=True)
    return Counter(dict(zip(keys, found["count_all"], strict=True)))


def by_class(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """The same counts by class or target, and then by reason."""
    found: dict[str, dict[str, int]] = {}
    for (name, reason), count in sorted(counts.items()):
        found.setdefault(name, {})[reason] = count
    return found
