"""Several classes a sample: columns of 0 and 1, lists of classes, lists of 0 and 1, or text with a separator.

In: Arrow arrays and the ids of the samples. Out: ``Targets`` with 0 or 1 for each class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from ogacli.data.ids import refuse, sample_place
from ogacli.data.labels import (
    ClassOrder,
    Target,
    Targets,
    arrow,
    classes_in,
    found_names,
    look_up,
    numbers_of,
    order_of,
    regression_targets,
)
from ogacli.data.labels.class_names import check_blanks
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.labels.list_columns import as_lists, holds_lists
from ogacli.errors import DataError

Lists = Literal["classes", "zero_one"]
"""The meaning of a list: the classes of the sample, or a 0 or 1 for each class."""


def matrix_targets(
    labels: Shaped[np.ndarray, "n ..."],
    ids: pa.StringArray,
    *,
    target: Target,
    classes: Sequence[str] | None = None,
    truth: Shaped[np.ndarray, "n ..."] | None = None,
) -> Targets:
    """The targets in the columns of an array: those of a regression, 0 or 1 for each class, or tags of words.

    Whole numbers are tags where one of them is ``IGNORED`` or greater than 1.

    Raises:
        DataError: A value is none of them.
    """
    if target != "regression" and labels.dtype.kind in "iu" and ((labels == IGNORED) | (labels > 1)).any():
        names = tuple(classes or (str(i) for i in range(1 + int(labels.max()))))
        tags = torch.from_numpy(labels.astype(np.int16))
        true_tags = None if truth is None else torch.from_numpy(truth.astype(np.int16))
        return Targets(tags, names, true_tags, class_order="given" if classes else "indices")
    columns, true = (None if one is None else _columns(one) for one in (labels, truth))
    assert columns is not None
    if target == "regression":
        return regression_targets(columns, ids, truth=true)
    return multi_label_targets(columns, ids, classes=classes, truth=true)


def _columns(array: Shaped[np.ndarray, "n ..."]) -> dict[str, pa.Array]:
    table = array.reshape(len(array), -1)
    return {str(k): arrow(table[:, k]) for k in range(table.shape[1])}


def multi_label_targets(
    labels: Mapping[str, pa.Array] | pa.Array,
    ids: pa.StringArray,
    *,
    classes: Sequence[str] | None = None,
    separator: str | None = None,
    lists: Lists | None = None,
    truth: Mapping[str, pa.Array] | pa.Array | None = None,
) -> Targets:
    """Any number of classes a sample.

    Args:
        labels: One column of 0 and 1 a class; or one column of lists; or, with a ``separator``, one column of
            text such as ``cat|dog``, empty where a sample has no class.
        ids: The samples' ids.
        classes: Class names, in order; by default the columns' names, or the sorted names that occur.
        separator: The text between two classes.
        lists: The meaning of lists; None where the lists show it.
        truth: The true labels, in the same form.

    Raises:
        DataError: A label is missing, neither 0 nor 1, or names no class; or the lists have two meanings.
    """
    if isinstance(labels, Mapping):
        names = tuple(classes or labels)
        if len(names) != len(labels):
            raise DataError(
                f"{len(labels)} label columns", place="data.classes", found=f"{len(names)} class names"
            )
        true = _zero_one("truth", truth, ids, names) if isinstance(truth, Mapping) else None
        return Targets(_zero_one("label", labels, ids, names), names, true)
    columns = {"label": _lists(labels, separator, ids)}
    if isinstance(truth, pa.Array):
        columns["truth"] = _lists(truth, separator, ids)
    for noun, column in columns.items():
        refuse(pc.is_null(column), f"{noun} is missing", ids, hint="an empty list means no class")
    vectors = {
        noun: vectors_in(column, ids, classes=classes, meaning=lists) for noun, column in columns.items()
    }
    if (found := vectors["label"]) is not None:
        names = tuple(classes or (str(i) for i in range(found.shape[1])))
        return Targets(found, names, vectors.get("truth"))
    listed = listed_classes(columns, ids, classes=classes)
    n, first = len(ids), listed["label"]
    true = listed["truth"].occurring(n) if "truth" in listed else None
    notes = () if classes else check_blanks(first.names)
    return Targets(first.occurring(n), first.names, true, notes=notes, class_order=first.class_order)


def _zero_one(
    noun: str, columns: Mapping[str, pa.Array], ids: pa.StringArray, names: Sequence[str]
) -> Float[Tensor, "n k"]:
    matrix = numbers_of(noun, columns, ids)
    bad = (matrix != 0) & (matrix != 1)
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise DataError(
            f"{noun} {names[column]!r} is not 0 or 1",
            place=sample_place(ids, row),
            found=f"{float(matrix[row, column]):g}",
        )
    return matrix


@dataclass(frozen=True, slots=True)
class Listed:
    """Lists of classes, concatenated."""

    owners: Int64[Tensor, " m"]
    """For each member the row of its list; ascending."""
    members: Int64[Tensor, " m"]
    """Class indices."""
    names: tuple[str, ...]
    class_order: ClassOrder

    def occurring(self, n: int) -> Float[Tensor, "n k"]:
        """0 or 1 for each class: whether it occurs in each of the n lists."""
        found = torch.zeros(n, len(self.names))
        found[self.owners, self.members] = 1.0
        return found


def listed_classes(
    lists: Mapping[str, pa.ListArray], ids: pa.StringArray, *, classes: Sequence[str] | None = None
) -> dict[str, Listed]:
    """The classes in columns of lists without nulls, which share their names.

    Args:
        lists: Such as ``label`` and ``truth``.
        ids: The samples' ids.
        classes: Class names, in order; by default the sorted names that occur.

    Raises:
        DataError: A member is missing or names no class.
    """
    owners = {noun: pc.list_parent_indices(column) for noun, column in lists.items()}
    named = {noun: ids.take(owner) for noun, owner in owners.items()}
    members = {noun: classes_in(noun, pc.list_flatten(lists[noun]), named[noun]) for noun in lists}
    names = tuple(classes) if classes else found_names(members, ids)
    return {
        noun: Listed(
            torch.tensor(owners[noun].to_numpy(), dtype=torch.int64),
            look_up(noun, column, named[noun], names),
            names,
            order_of(members, classes),
        )
        for noun, column in members.items()
    }


# --- lists of 0 and 1 -----------------------------------------------------------------------------------


def vectors_in(
    lists: pa.ListArray, ids: pa.StringArray, *, classes: Sequence[str] | None, meaning: Lists | None
) -> Float[Tensor, "n k"] | None:
    """The lists as 0 or 1 for each class; None where they name classes.

    Lists of equal length that hold nothing but 0 and 1 are such vectors where one repeats a value, which a
    set of classes does not, or where they are floats or booleans, which class indices are not.

    Raises:
        DataError: Both readings are possible, or the vectors do not fit the classes.
    """
    if meaning == "classes" or not len(lists):
        return None
    lengths, flat = pc.list_value_length(lists), pc.list_flatten(lists)
    width = lengths[0].as_py()
    equal = pc.all(pc.equal(lengths, width)).as_py() and width > 0
    values = _values(flat)
    if not equal or values is None:
        if meaning is None:
            return None
        odd = pc.not_equal(lengths, width).index(True).as_py()
        raise DataError(
            "not a 0 or 1 for each class",
            place=sample_place(ids, max(odd, 0)),
            found=lists[max(odd, 0)].as_py(),
            expected=f"lists of {width} numbers that are 0 or 1",
            hint="`lists: classes` is for lists of the classes of a sample",
        )
    matrix = torch.tensor(values.reshape(-1, width))
    counts = matrix.sum(1)
    repeats = bool((torch.maximum(counts, width - counts) > 1).any())
    certain = repeats or meaning == "zero_one" or not _may_be_classes(flat.type)
    if not certain and classes and len(classes) != width:
        return None
    if not certain:
        raise DataError(
            "lists of 0 and 1 may name the classes 0 and 1, or have a 0 or 1 for each class",
            place=sample_place(ids, 0),
            found=lists[0].as_py(),
            hint="set `lists: zero_one` for a 0 or 1 for each class, or `lists: classes`",
        )
    if classes and len(classes) != width:
        raise DataError(
            f"lists of {width} zeros and ones, but {len(classes)} classes",
            place=sample_place(ids, 0),
            found=lists[0].as_py(),
            expected="as many as there are `classes`",
        )
    return matrix


def _values(flat: pa.Array) -> Float[np.ndarray, " m"] | None:
    """The members as floats, where all are 0 or 1."""
    if flat.null_count or not len(flat):
        return None
    if pa.types.is_string(flat.type):
        if not pc.all(pc.is_in(flat, value_set=pa.array(["0", "1"]))).as_py():
            return None
        flat = flat.cast(pa.int64())
    elif not (
        pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type) or pa.types.is_boolean(flat.type)
    ):
        return None
    values = np.asarray(pc.cast(flat, pa.float32()).to_numpy(zero_copy_only=False))
    return values if np.isin(values, (0, 1)).all() else None


def _may_be_classes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind))


# --- columns of lists -----------------------------------------------------------------------------------


def _lists(column: pa.Array, separator: str | None, ids: pa.StringArray) -> pa.ListArray:
    if holds_lists(column):
        return as_lists(column, ids)
    if separator is None:
        raise DataError("the label column does not hold lists", found=column.type, hint="give a `separator`")
    text = pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))
    items = [[part.strip() for part in row.split(separator) if part.strip()] for row in text.to_pylist()]
    return pa.array(items, pa.list_(pa.string()))
