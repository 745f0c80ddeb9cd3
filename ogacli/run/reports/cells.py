"""The judged cells of labels, as reports show them.

In: a run whose labels have cells. Out: counts by class or target, and single cells with values as texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.issues import MEANINGS, issues_of
from ogacli.run.summary import Summary

_LENGTH = 48
"""Characters that are shown of a name."""
_OF_ONE = 16
"""Cells that are shown of a sample."""


COLUMNS = ("sample", "part", "given", "suggested", "probability", "reason")
"""The headings of a table of cells."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that is more probably wrong than right; texts are cut to length."""

    sample: str
    position: int
    index: int
    """Of the class, target or word in the label."""
    cell: str
    given: str
    suggested: str
    probability: float
    reason: str


def first_cells(run: Run, limit: int) -> list[Cell]:
    """The cells that are most probably wrong."""
    found: list[Cell] = []
    for part in issues_of(run):
        found += cells(run, part.slice(0, limit - len(found)))
        if len(found) >= limit:
            break
    return found


def cells_at(run: Run, positions: pa.ChunkedArray) -> dict[int, list[Cell]]:
    """The cells of the samples at some positions."""
    found: dict[int, list[Cell]] = {}
    for part in issues_of(run):
        for one in cells(run, part.filter(pc.is_in(part["position"], positions.combine_chunks()))):
            own = found.setdefault(one.position, [])
            if len(own) < _OF_ONE:
                own.append(one)
    return found


def cells(run: Run, rows: pa.Table) -> list[Cell]:
    """Rows of ``issues.parquet``."""
    sets = bool(run.summary.classes)
    return [
        Cell(
            sample=wording.cut(str(row["id"]), 80),
            position=row["position"],
            index=row["index"],
            cell=wording.cut(row["cell"], _LENGTH),
            given=_value(row["given"], sets),
            suggested=_value(row["suggested"], sets) + _interval(row),
            probability=row["probability"],
            reason=wording.cut(row["reason"] or "", _LENGTH),
        )
        for row in rows.to_pylist()
    ]


def _value(value: object, sets: bool) -> str:
    """Whether a class is in the label; a number; or the name of a class."""
    if value is None:
        return "none"
    if sets and isinstance(value, float):
        return "yes" if value > 0 else "no"
    return wording.cut(wording.label(value), _LENGTH)


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    return "" if low is None or high is None else f" ({wording.decimal(low)} to {wording.decimal(high)})"


def reasons(summary: Summary) -> list[str]:
    """The reasons that occur, the known ones first."""
    found = dict.fromkeys(reason for one in summary.cells for reason in one.wrong)
    return [*(one for one in MEANINGS if one in found), *(one for one in found if one not in MEANINGS)]


def header(summary: Summary) -> list[str]:
    """The headings of ``rows``."""
    return [
        "class" if summary.classes else "target",
        "given",
        *reasons(summary),
        "far more often than others",
    ]


def rows(summary: Summary, limit: int) -> list[list[str]]:
    """Classes or targets with such cells, those with most of them first."""
    each = sorted((one for one in summary.cells if one.wrong), key=lambda one: -sum(one.wrong.values()))
    return [
        [
            wording.cut(one.name, _LENGTH),
            wording.number(one.given),
            *(wording.number(one.wrong.get(reason, 0)) for reason in reasons(summary)),
            one.often or "",
        ]
        for one in each[:limit]
    ]
