"""What the rows of ``scores.parquet`` say, counted anew: the figures that a gate judges.

In: a run. Out: ``Counts``, and where they contradict ``summary.json``. The file is read once, a row group at
a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from ogacli.base.arrow import unpacked, value
from ogacli.run.digest import ROWS, SUMMARY, RowsDigest, summary_digest
from ogacli.run.issues import by_class, counted, issues_of
from ogacli.run.scores import LEAKS, NEAR, QUARANTINED
from ogacli.run.summary import ClassSummary

if TYPE_CHECKING:
    from ogacli.run.directory import Run

_DATA = ("id", "label", "fingerprint")
"""The columns that do not depend on a model."""
_ROUNDED = 1e-6
"""Between a probability in float32 and 1 minus it in float64."""


@dataclass(slots=True)
class Counts:
    """Figures of all rows."""

    samples: int = 0
    flagged: int = 0
    quarantined: int = 0
    cut: float | None = None
    """The lowest flagged score."""
    probably_right: int = 0
    """Flagged samples whose label is more probably right than wrong."""
    of_labels: bool = True
    """Whether the score of every sample is the probability that its label is wrong."""
    near_duplicates: int | None = None
    """Samples that are near-duplicates of one to keep; None where they were not looked for."""
    leaks: int | None = None
    """Samples that another dataset has, too; None where there is no other one."""
    classes: tuple[ClassSummary, ...] = ()
    """By given label, in the order of the summary; a sample with several classes counts in each of them."""
    issues: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Cells of labels that are more probably wrong than right, by class or target and by reason."""
    data: str = ""
    """A digest of ids, inputs and labels, in their order; equal for runs on the same data."""
    doubts: tuple[str, ...] = ()
    """Why the file is not the one that the scan wrote, or is not that of the summary."""
    _labels: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def scored(self) -> int:
        """Samples that have a score."""
        return self.samples - self.quarantined

    @classmethod
    def of(cls, run: Run) -> Counts:
        """The figures of a run."""
        found = cls()
        names = [name for name in _DATA if name in run.schema.names]
        digest, data = (
            RowsDigest(run.schema),
            RowsDigest(pa.schema([run.schema.field(name) for name in names])),
        )
        for rows in run.parts():
            digest.add(rows)
            data.add(rows.select(names))
            for batch in rows.combine_chunks().to_batches():
                found._add(batch)
        for part in issues_of(run):
            found.issues += counted(part)
        found.of_labels &= found.scored > 0
        found.data = data.hexdigest()
        found.classes = tuple(found._classes(run))
        found.doubts = (*_doubts(run, digest.hexdigest()), *found._contradictions(run))
        return found

    def _add(self, rows: pa.RecordBatch) -> None:
        flagged, quarantined = rows["flagged"], pc.equal(rows["status"], value(QUARANTINED))
        self.samples += len(rows)
        self.flagged += flagged.true_count
        self.quarantined += quarantined.true_count
        if NEAR in rows.schema.names:
            self.near_duplicates = (self.near_duplicates or 0) + _filled(rows[NEAR])
        if LEAKS in rows.schema.names:
            self.leaks = (self.leaks or 0) + _filled(rows[LEAKS])
        lowest = pc.min(rows["score"].filter(flagged)).as_py()
        if lowest is not None:
            self.cut = lowest if self.cut is None else min(lowest, self.cut)
        if "given_label_probability" in rows.schema.names:
            self._add_probabilities(rows, flagged)
        else:
            self.of_labels = False
        for noun, those in (("samples", None), ("flagged", flagged), ("quarantined", quarantined)):
            self._labels.setdefault(noun, Counter()).update(_names(rows["label"], those))

    def _add_probabilities(self, rows: pa.RecordBatch, flagged: pa.Array) -> None:
        right, score = _float64(rows["given_label_probability"]), _float64(rows["score"])
        known = ~np.isnan(score)
        self.of_labels &= bool((np.abs(1 - score - right)[known] < _ROUNDED).all())
        self.probably_right += int((right[unpacked(flagged)] > 0.5).sum())

    def _classes(self, run: Run) -> Iterator[ClassSummary]:
        """Those of the summary, where labels are not the names of its classes."""
        names = [one.name for one in run.summary.classes]
        if not set(self._labels.get("samples", ())) <= set(names) or not any(self._labels.values()):
            yield from run.summary.classes
            return
        for name in names:
            yield ClassSummary(name=name, **{noun: count[name] for noun, count in self._labels.items()})

    def _contradictions(self, run: Run) -> Iterator[str]:
        summary = run.summary
        for noun in ("samples", "scored", "flagged", "quarantined"):
            said, counted = getattr(summary, noun), getattr(self, noun)
            if said != counted:
                yield f"{noun}: summary.json says {said:,}, there are {counted:,}"
        near = None if summary.near_duplicates is None else summary.near_duplicates.samples
        for noun, *both in (
            ("near-duplicates", near, self.near_duplicates),
            ("leaks", summary.leaks, self.leaks),
        ):
            if both[0] != both[1]:
                yield f"{noun}: summary.json says {both[0]}, there are {both[1]}"
        if summary.cut != self.cut:
            yield f"cut: summary.json says {summary.cut}, the lowest flagged score is {self.cut}"
        issues = by_class(self.issues)
        for cell in summary.cells:
            there = issues.get(cell.name, {})
            if there != cell.wrong:
                yield f"issues of {cell.name!r}: summary.json says {cell.wrong}, there are {there}"
        for said_of, counted_of in zip(summary.classes, self.classes, strict=True):
            for noun in ("samples", "flagged", "quarantined"):
                said, counted = getattr(said_of, noun), getattr(counted_of, noun)
                if said != counted:
                    where = f"{noun} of class {said_of.name!r}"
                    yield f"{where}: summary.json says {said:,}, there are {counted:,}"


def _doubts(run: Run, rows: str) -> Iterator[str]:
    """Where the digests in the metadata of the scores differ from what is there."""
    metadata = run.digests
    if ROWS not in metadata or SUMMARY not in metadata:
        yield "scores.parquet has no digest: another program wrote it, or an earlier version of oga"
        return
    if metadata[ROWS].decode() != rows:
        yield "the rows of scores.parquet are not those that the scan wrote"
    if metadata[SUMMARY].decode() != summary_digest(run.summary_document):
        yield "summary.json is not the one that the scan wrote with these scores"


def _filled(column: pa.Array) -> int:
    return len(column) - int(column.null_count)


def _float64(column: pa.Array) -> Float[np.ndarray, " n"]:
    """The numbers of a column, NaN where they are missing."""
    return unpacked(pc.fill_null(column.cast(pa.float64()), value(math.nan)))


def _names(labels: pa.Array, those: pa.Array | None) -> dict[str, int]:
    """In how many labels each class name occurs; nothing where labels are not class names."""
    labels = labels if those is None else labels.filter(those)
    if pa.types.is_list(labels.type):
        pairs = pa.table({"row": pc.list_parent_indices(labels), "name": labels.flatten()})
        labels = pairs.group_by(["row", "name"]).aggregate([])["name"].combine_chunks()
    if not pa.types.is_string(labels.type):
        return {}
    found = pc.value_counts(labels.drop_null())
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))
