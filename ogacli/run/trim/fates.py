"""The fate of each sample, and the user's decisions on it.

In: a table of decisions. Out: changed fates and new labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ogacli.base.tables import check_columns, read_table
from ogacli.base.wording import listed
from ogacli.errors import DataError
from ogacli.run.directory import Run

KEPT, DROPPED, RELABELLED, QUARANTINED = FATES = ("kept", "dropped", "relabelled", "quarantined")
_DECISIONS = {"keep": KEPT, "drop": DROPPED, "relabel": RELABELLED}


def decide(path: str | Path, run: Run, fate: Any, new_label: list[Any]) -> list[int]:
    """Replace fates by those of a table of decisions.

    Args:
        path: A table with the columns ``id``, ``decision`` (keep, drop or relabel) and, for relabel,
            ``label``.
        run: The run of the samples.
        fate: The fate of each sample; changed in place.
        new_label: The new label of each relabelled sample, None elsewhere; changed in place.

    Returns:
        The rows that were decided on.

    Raises:
        DataError: It names samples or classes that are not in the run, or is no table of decisions.
    """
    scores, classes = run.scores, [one.name for one in run.summary.classes]
    table = read_table(path, text=("id", "decision", "label"))
    check_columns(table, ("id", "decision"), path, "id, decision and, where a decision is relabel, label")
    row_of = {name: row for row, name in enumerate(scores.column("id").to_pylist())}
    decided: list[int] = []
    for number, decision in enumerate(table.to_pylist(), 1):
        place = f"{path}: row {number}: sample {decision['id']!r}"
        if decision["id"] not in row_of:
            raise DataError("not a sample of the run", place=place)
        if decision["decision"] not in _DECISIONS:
            raise DataError(
                "not a decision",
                place=place,
                found=repr(decision["decision"]),
                expected=f"one of {', '.join(_DECISIONS)}",
            )
        row = row_of[decision["id"]]
        decided.append(row)
        fate[row] = _DECISIONS[decision["decision"]]
        new_label[row] = None
        if fate[row] == RELABELLED:
            new_label[row] = _new_label(decision.get("label"), scores.slice(row, 1), classes, place)
    return decided


def _new_label(given: str | None, sample: pa.Table, classes: Sequence[str], place: str) -> str:
    """The label that a decision names, or else the suggested one."""
    label = given or sample.column("suggested_label")[0].as_py()
    if label is None:
        raise DataError("no new label", place=place, expected="a class name in the column label")
    if label not in classes:
        shown = listed(classes, 12) or "no classes: samples of this run cannot be relabelled"
        raise DataError("unknown class", place=place, found=repr(label), expected=f"one of {shown}")
    return str(label)
