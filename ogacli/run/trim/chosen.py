"""``Chosen``: which rows of a source are written, with which new labels and weights.

In: a run, its fates, and the original of its source. Out: rows by their position, in the order of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int64

from ogacli.base.tables import check_columns, read_table
from ogacli.data.originals import Original
from ogacli.errors import DataError
from ogacli.run.directory import Run
from ogacli.run.trim.fates import Fates

WEIGHT = "weight"
_BEFORE = "_before"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows to write."""

    positions: Int64[np.ndarray, " m"]
    """Of the rows in the source; ascending."""
    labels: Mapping[int, str]
    """The new label of some positions, as a text of ``ogacli.run.label_kind``."""
    before: bool
    """Whether a column holds the old labels."""
    weights: Float[np.ndarray, " m"] | None
    """The weight of each row; NaN where there is none."""
    classes: Sequence[str]
    """All class names; none where labels are numbers."""
    examples: Mapping[str, int]
    """For some classes the position of a sample whose label in the source is that class."""
    source_rows: int | None
    """How many rows the source had when it was scanned."""

    def column(self, label: str, taken: Sequence[str]) -> str:
        """The name of the column that holds the old values of a label column."""
        return free_name(f"{label}{_BEFORE}", taken)

    def weight_of(self, index: int) -> float | None:
        """The weight of the ``index``-th row that is written; None where there is none."""
        if self.weights is None or np.isnan(self.weights[index]):
            return None
        return float(self.weights[index])


def free_name(name: str, taken: Sequence[str]) -> str:
    """``name``, or with a number where the source has a column of that name."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def chosen_of(run: Run, fates: Fates, original: Original | None, *, before: bool) -> Chosen:
    """The rows that stay.

    Args:
        run: The run.
        fates: Of its samples.
        original: The original of its source.
        before: Whether old labels are kept in a column even where none is replaced.

    Raises:
        DataError: An earlier manifest, which relabelled samples, is not there any more.
    """
    rows = fates.staying
    order = np.argsort(fates.position[rows], kind="stable")
    rows = rows[order]
    earlier = {} if original is None or original.manifest is None else _earlier(run, original.manifest)
    labels = {int(fates.position[row]): name for row, name in earlier.items()}
    labels |= {int(fates.position[row]): name for row, name in fates.new_label.items()}
    shown: dict[str, int] = {}
    if labels and run.summary.classes and not (original is not None and original.flip):
        shown = _examples(run, set(labels.values()), labels)
    return Chosen(
        positions=fates.position[rows],
        labels=labels,
        before=before or bool(labels),
        weights=None if fates.weight is None else fates.weight[rows],
        classes=tuple(one.name for one in run.summary.classes),
        examples=shown,
        source_rows=run.provenance["dataset"].get("source_rows"),
    )


def _earlier(run: Run, manifest: str) -> dict[int, str]:
    """The rows that an earlier manifest relabelled: their labels in the source are still the old ones."""
    table = read_table(manifest, text=("id", "fate", "new_label"))
    check_columns(table, ("id", "fate", "new_label"), manifest, "a manifest written by `oga trim`")
    table = table.filter(pc.equal(table.column("fate"), "relabelled"))
    new = dict(zip(table.column("id").to_pylist(), table.column("new_label").to_pylist(), strict=True))
    found: dict[int, str] = {}
    start = 0
    names = pa.array(list(new), pa.string())
    for batch in run.batches(["id"]) if new else ():
        ids = batch.column("id").cast(pa.string())
        for row in pc.is_in(ids, value_set=names).to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            found[start + row] = new[ids[row].as_py()]
        start += len(batch)
    return found


def _examples(run: Run, wanted: set[str], without: Mapping[int, str]) -> dict[str, int]:
    """The first position of each wanted class, and of one other, whose row has its label from the source."""
    found: dict[str, int] = {}
    spare: tuple[str, int] | None = None
    for batch in run.batches(["label", "position"]):
        label = batch.column("label")
        if pa.types.is_list(label.type):
            return {}
        texts = label.cast(pa.string()).dictionary_encode()
        for code, name in enumerate(texts.dictionary.to_pylist()):
            if name in found or (spare is not None and name not in wanted):
                continue
            rows = _array(pc.equal(texts.indices, code)).nonzero()[0]
            positions = _array(batch.column("position"))[rows].tolist()
            first = next((position for position in positions if position not in without), None)
            if first is not None and name in wanted:
                found[name] = first
            elif first is not None:
                spare = name, first
        if found.keys() == wanted:
            return found
    return found | ({spare[0]: spare[1]} if spare is not None else {})


def _array(column: Any) -> Any:
    return (
        column.fill_null(False).to_numpy(zero_copy_only=False)
        if pa.types.is_boolean(column.type)
        else column.to_numpy(zero_copy_only=False)
    )


def changed(place: str, found: int, chosen: Chosen) -> DataError:
    """The error where a source has another number of rows than when it was scanned."""
    return DataError(
        "the dataset has changed since the scan",
        place=place,
        found=f"{found:,} rows",
        expected=f"{chosen.source_rows:,} rows",
        hint="scan it again, then trim",
    )


def check_rows(place: str, found: int, chosen: Chosen) -> None:
    """Check that the source has as many rows as when it was scanned.

    Raises:
        DataError: It has not.
    """
    if chosen.source_rows is not None and found != chosen.source_rows:
        raise changed(place, found, chosen)
