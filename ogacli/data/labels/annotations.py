"""Labels by several annotators: who gave which label to which sample.

In: a table with the columns id, annotator and label, or a column an annotator. Out: ``Annotations``, and
samples whose label is the consensus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Int16, Int32, Int64
from torch import Tensor

from ogacli.base.tables import check_columns, read_table
from ogacli.base.wording import listed
from ogacli.data.ids import arrow_ids
from ogacli.data.labels import look_up
from ogacli.data.labels.consensus import consensus
from ogacli.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ogacli.data.samples import Samples

COLUMNS = ("id", "annotator", "label")
_MOST_PLACES = 1 << 30
"""Samples times the most annotations of one: 6 GiB."""
_MOST_RATES = 1 << 28
"""Annotators times classes squared: their confusion matrices take 2 GiB, and as much again."""
_EXPECTED = "a row an annotation: the id of the sample, the name of the annotator, and the label"


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotations of each sample, in any order, followed by -1."""

    annotator: Int32[Tensor, "n m"]
    """Index of the annotator."""
    labels: Int16[Tensor, "n m"]
    """Class index."""
    names: tuple[str, ...]
    """Of the annotators."""

    def select(self, rows: Int64[Tensor, " c"]) -> Annotations:
        """Those of some samples."""
        return replace(self, annotator=self.annotator[rows], labels=self.labels[rows])

    @property
    def counts(self) -> Int64[Tensor, " n"]:
        """How many annotations each sample has."""
        return (self.annotator >= 0).sum(1)

    @classmethod
    def of(
        cls,
        rows: Int64[np.ndarray, " v"],
        annotators: Int64[np.ndarray, " v"],
        labels: Int64[np.ndarray, " v"],
        names: Sequence[str],
        n: int,
    ) -> Annotations:
        """From a list of annotations.

        Args:
            rows: Of the samples.
            annotators: Indices.
            labels: Class indices.
            names: Of the annotators.
            n: Number of samples.
        """
        order = np.argsort(rows, kind="stable")
        rows, counts = rows[order], np.bincount(rows, minlength=n)
        place = np.arange(len(rows)) - (counts.cumsum() - counts)[rows]
        width = int(counts.max(initial=0))
        who, what = np.full((n, width), -1, np.int32), np.full((n, width), -1, np.int16)
        who[rows, place], what[rows, place] = annotators[order], labels[order]
        return cls(torch.from_numpy(who), torch.from_numpy(what), tuple(names))


def annotated(samples: Samples, path: str | Path) -> Samples:
    """The samples with the annotations of a table, and the consensus as their label.

    Args:
        samples: With one class each.
        path: A csv, jsonl or parquet file with the columns ``id``, ``annotator`` and ``label``.

    Raises:
        DataError: An id is none of the samples', a label is no class, or somebody annotated a sample twice.
    """
    with DataError.within(str(path)):
        table = read_table(path, text=COLUMNS)
        check_columns(table, COLUMNS, path, _EXPECTED)
        ids, names, labels = (table.column(name).combine_chunks().cast(pa.string()) for name in COLUMNS)
        for name, column in zip(COLUMNS, (ids, names, labels), strict=True):
            if (row := pc.equal(pc.fill_null(column, ""), "").index(True).as_py()) >= 0:
                raise DataError(f"an annotation without {name}", found=f"row {row + 1}", expected=_EXPECTED)
        rows = pc.index_in(ids, arrow_ids(samples.ids))
        if rows.null_count:
            unknown = ids.filter(rows.is_null()).unique()
            raise DataError(
                "annotations of samples that are not in the data",
                found=f"{len(unknown):,} ids: {listed([repr(one) for one in unknown.to_pylist()], 3)}",
                expected=f"ids such as {samples.ids[0].as_py()!r}",
                hint="set `id` of the data to the column with these ids, or leave the annotations out",
            )
        given = names.dictionary_encode()
        found = look_up("label", labels, ids, samples.classes).numpy()
        who = given.indices.to_numpy().astype(np.int64)
        return _with(samples, rows.to_numpy().astype(np.int64), who, found, given.dictionary.to_pylist())


def voices_of(annotators: Mapping[str, Any]) -> dict[str, pa.Array]:
    """The labels of each annotator as columns, None and NaN where there is no label.

    Raises:
        DataError: There are fewer than two, or they differ in length or are no labels.
    """
    if not isinstance(annotators, Mapping) or len(annotators) < 2:
        expected = "a mapping of two or more names to their labels, one a sample or None"
        raise DataError("not several annotators", found=type(annotators).__name__, expected=expected)
    found = dict[str, pa.Array]()
    for name, labels in annotators.items():
        try:
            plain = labels.tolist() if hasattr(labels, "tolist") else list(labels)
            found[str(name)] = pa.array(plain, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError("not labels", place=f"annotator {name!r}", found=str(error)) from None
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("annotators with labels of different numbers of samples", found=str(lengths))
    return found


def annotated_by_columns(samples: Samples, columns: Mapping[str, pa.Array]) -> Samples:
    """The samples with the labels of several columns, each of an annotator; a null is no annotation.

    Raises:
        DataError: A label is no class, or a column has none.
    """
    rows, who, what = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    ids = arrow_ids(samples.ids)
    for number, (name, column) in enumerate(columns.items()):
        known = pc.invert(pc.is_null(column, nan_is_null=True))
        if column.type == pa.string():
            known = pc.and_(known, pc.not_equal(pc.fill_null(column, ""), ""))
        values = column.filter(known)
        if not len(values):
            raise DataError("an annotator without labels", found=f"column {name!r}")
        if pa.types.is_floating(values.type):
            values = values.cast(pa.int64())
        what.append(look_up(f"label of {name}", values, ids.filter(known), samples.classes).numpy())
        rows.append(np.flatnonzero(known.to_numpy(zero_copy_only=False)))
        who.append(np.full(len(values), number))
    return _with(samples, np.concatenate(rows), np.concatenate(who), np.concatenate(what), list(columns))


def class_names(voices: str | Sequence[pa.Array], more: Sequence[pa.Array] = ()) -> tuple[str, ...]:
    """The labels that occur, sorted; numbers by their values.

    Args:
        voices: The table of annotations; or a column an annotator.
        more: Further columns of labels, such as the true ones.

    Raises:
        DataError: It is no such table.
    """
    columns = [*more] if isinstance(voices, str) else [*voices, *more]
    if isinstance(voices, str):
        table = read_table(voices, text=COLUMNS)
        check_columns(table, COLUMNS, voices, _EXPECTED)
        columns.append(table.column("label"))
    names = {name for column in columns for name in column.unique().cast(pa.string()).to_pylist() if name}
    return tuple(sorted(names, key=lambda one: (not one.isdigit(), int(one) if one.isdigit() else 0, one)))


def _with(
    samples: Samples, rows: np.ndarray, who: np.ndarray, what: np.ndarray, names: Sequence[str]
) -> Samples:
    """The samples with these annotations.

    Raises:
        DataError: Samples do not have one class each, there are no annotations, or some occur twice.
    """
    if samples.class_index is None:
        raise DataError("annotations are for samples with one class each", place="annotators")
    if not len(rows):
        raise DataError("no annotations", expected=_EXPECTED)
    _check_size(rows, samples, len(names))
    pairs, counts = np.unique(rows * len(names) + who, return_counts=True)
    if (counts > 1).any():
        first = int(pairs[counts > 1][0])
        raise DataError(
            "an annotator labelled a sample more than once",
            place=f"sample {samples.ids[first // len(names)].as_py()!r}",
            found=f"{int((counts > 1).sum()):,} such pairs, the first by {names[first % len(names)]!r}",
            hint="keep one of the labels",
        )
    found = Annotations.of(rows, who, what, names, len(samples))
    labels = consensus(found.annotator, found.labels, len(samples.classes), len(names)).argmax(1)
    labels = labels.where(found.counts > 0, samples.labels)
    return replace(samples, labels=labels, annotations=found)


def _check_size(rows: np.ndarray, samples: Samples, annotators: int) -> None:
    """Check that memory holds what few rows of a table can ask for.

    Raises:
        DataError: It may not.
    """
    counts, k = np.bincount(rows), len(samples.classes)
    most = int(counts.argmax())
    if int(counts[most]) * len(samples) > _MOST_PLACES:
        raise DataError(
            "too many annotations of one sample",
            place=f"sample {samples.ids[most].as_py()!r}",
            found=f"{counts[most]:,}, where there are {len(samples):,} samples",
            expected=f"at most {_MOST_PLACES // len(samples):,}",
        )
    if annotators * k * k > _MOST_RATES:
        raise DataError(
            "too many annotators for so many classes",
            found=f"{annotators:,} annotators, {k:,} classes",
            expected=f"at most {_MOST_RATES // (k * k):,} annotators",
            hint="give those with few labels one name",
        )
