"""Label columns -> class indices, 0/1 per class, or the targets of a regression.

In: Arrow arrays of a table or an npy file, and the ids of the samples. Out: ``Targets``. In all sources
integers 0 to k-1 are class indices, strings are class names (sorted, unless ``classes`` gives their order),
and any other label raises an error with the id of its sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int64, Shaped
from pydantic import AfterValidator, BeforeValidator
from torch import Tensor

from ogacli.data.ids import refuse, sample_place
from ogacli.errors import DataError

Target = Literal["classes", "regression"]
"""``classes``: labels are classes; ``regression``: they are numbers to be predicted."""

_MOST_CLASSES = 100_000
"""Integer labels above this, and above n, are not accepted as classes."""


def _names(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return tuple(str(i) for i in range(value))
    if isinstance(value, list | tuple):
        return tuple(str(name) for name in value)
    return value


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"a class is named twice: {', '.join(twice)}")
    return names


Classes = Annotated[tuple[str, ...], BeforeValidator(_names), AfterValidator(_unique)]
"""Class names in the order of the model's outputs, or only their number."""

ClassOrder = Literal["given", "sorted", "indices"]
"""Where the order of the classes comes from. ``given``: the user or the dataset lists their names, and labels
are matched with these. ``sorted``: the names that occur as labels, sorted. ``indices``: labels are class
indices, so that names in another order would only rename the classes."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The labels of all samples, and their classes."""

    labels: Int64[Tensor, " n"] | Float[Tensor, "n k"]
    classes: tuple[str, ...]
    truth: Int64[Tensor, " n"] | None = None
    class_order: ClassOrder = "given"


def matrix_targets(
    labels: Shaped[np.ndarray, "n ..."],
    ids: pa.StringArray,
    *,
    target: Target,
    classes: Sequence[str] | None = None,
) -> Targets:
    """The targets in the columns of an array: those of a regression, or 0 or 1 for each class.

    Raises:
        DataError: A value is neither.
    """
    table = labels.reshape(len(labels), -1)
    columns = {str(k): arrow(table[:, k]) for k in range(table.shape[1])}
    if target == "regression":
        return regression_targets(columns, ids)
    return multi_label_targets(columns, ids, classes=classes)


def arrow(array: Shaped[np.ndarray, " n"]) -> pa.Array:
    """A column of an array as an Arrow array; bytes become text."""
    return pa.array(array.astype(str) if array.dtype.kind == "S" else np.ascontiguousarray(array))


def class_targets(
    labels: pa.Array,
    ids: pa.StringArray,
    *,
    classes: Sequence[str] | None = None,
    truth: pa.Array | None = None,
) -> Targets:
    """One class a sample.

    Strings are class names. Integers are class indices, or class names where ``classes`` are numbers, such as
    ``[1, 2, 3]``.

    Raises:
        DataError: A label is missing or names no class.
    """
    columns = {"label": _classes_in("label", labels, ids)}
    if truth is not None:
        columns["truth"] = _classes_in("truth", truth, ids)
    names = tuple(classes) if classes else _found_names(columns, ids)
    found = {noun: _look_up(noun, column, ids, names) for noun, column in columns.items()}
    return Targets(found["label"], names, found.get("truth"), _order(columns, classes))


def _order(columns: Mapping[str, pa.Array], classes: Sequence[str] | None) -> ClassOrder:
    """By the columns of labels and the names that were given."""
    integers = all(pa.types.is_integer(column.type) for column in columns.values())
    if not classes:
        return "indices" if integers else "sorted"
    numbers = list(classes) == [str(i) for i in range(len(classes))]
    renamed = not all(name.isdecimal() for name in classes)
    return "indices" if integers and (numbers or renamed) else "given"


def multi_label_targets(
    labels: Mapping[str, pa.Array] | pa.Array,
    ids: pa.StringArray,
    *,
    classes: Sequence[str] | None = None,
    separator: str | None = None,
) -> Targets:
    """Any number of classes a sample.

    Args:
        labels: One column of 0 and 1 a class; or one column of lists of classes; or, with a ``separator``,
            one column of text such as ``cat|dog``, empty where a sample has no class.
        ids: The samples' ids.
        classes: Class names, in order; by default the columns' names, or the sorted names that occur.
        separator: The text between two classes.

    Raises:
        DataError: A label is missing, neither 0 nor 1, or names no class.
    """
    if isinstance(labels, Mapping):
        names = tuple(classes or labels)
        if len(names) != len(labels):
            raise DataError(
                f"{len(labels)} label columns", place="data.classes", found=f"{len(names)} class names"
            )
        matrix = np.stack([_numbers(f"label {name!r}", c, ids) for name, c in labels.items()], 1)
        bad = (matrix != 0) & (matrix != 1)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"label {names[column]!r} is not 0 or 1",
                place=sample_place(ids, row),
                found=f"{matrix[row, column]:g}",
            )
        return Targets(torch.from_numpy(matrix.astype(np.float32)), names)
    lists = _lists(labels, separator)
    refuse(pc.is_null(lists), "label is missing", ids, hint="an empty list means no class")
    return listed_classes(lists, ids, classes=classes).occurring(len(ids))


@dataclass(frozen=True, slots=True)
class Listed:
    """Lists of classes, concatenated."""

    owners: Int64[Tensor, " m"]
    """For each member the row of its list; ascending."""
    members: Int64[Tensor, " m"]
    """Class indices."""
    names: tuple[str, ...]
    class_order: ClassOrder

    def occurring(self, n: int) -> Targets:
        """0 or 1 for each class: whether it occurs in each of the n lists."""
        found = torch.zeros(n, len(self.names))
        found[self.owners, self.members] = 1.0
        return Targets(found, self.names, class_order=self.class_order)


def listed_classes(
    lists: pa.ListArray, ids: pa.StringArray, *, classes: Sequence[str] | None = None
) -> Listed:
    """The classes in a column of lists without nulls.

    Raises:
        DataError: A member is missing or names no class.
    """
    owners = pc.list_parent_indices(lists)
    members = class_targets(pc.list_flatten(lists), ids.take(owners), classes=classes)
    return Listed(
        torch.tensor(owners.to_numpy(), dtype=torch.int64),
        members.labels,
        members.classes,
        members.class_order,
    )


def regression_targets(columns: Mapping[str, pa.Array], ids: pa.StringArray) -> Targets:
    """One number a column.

    Raises:
        DataError: A value is missing or not a finite number.
    """
    values = np.stack([_numbers(f"label {name!r}", column, ids) for name, column in columns.items()], 1)
    return Targets(torch.from_numpy(values.astype(np.float32)), ())


def _classes_in(noun: str, column: pa.Array, ids: pa.StringArray) -> pa.Array:
    """The column as int64 or string, without nulls."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        raise DataError(
            f"the {noun} column holds {column.type}",
            expected="one class a sample",
        )
    missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_floating(column.type):
        whole = pc.fill_null(pc.equal(pc.floor(column), column), True)
        refuse(
            pc.and_(pc.invert(whole), pc.invert(missing)),
            f"{noun} is not a class",
            ids,
            column,
            expected="a whole number or a name",
            hint="set `target: regression` if it is a number to be predicted",
        )
    elif not pa.types.is_integer(column.type):
        column = column.cast(pa.string())
        missing = pc.or_(missing, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True))
    refuse(missing, f"{noun} is missing", ids, hint=f"give it a {noun}, or remove the row")
    return column if pa.types.is_string(column.type) else column.cast(pa.int64())


def _found_names(columns: Mapping[str, pa.Array], ids: pa.StringArray) -> tuple[str, ...]:
    """The classes that occur: 0 to the highest where all are integers, sorted names otherwise."""
    integers = [column for column in columns.values() if pa.types.is_integer(column.type)]
    if len(integers) < len(columns):
        names = {
            name for column in columns.values() for name in column.cast(pa.string()).unique().to_pylist()
        }
        numeric = all(name.isdecimal() for name in names)
        return tuple(sorted(names, key=lambda name: (int(name), name) if numeric else (0, name)))
    bounds = [pc.min_max(column).as_py() for column in integers]
    low = min((b["min"] for b in bounds if b["min"] is not None), default=0)
    high = max((b["max"] for b in bounds if b["max"] is not None), default=-1)
    if high >= max(_MOST_CLASSES, len(ids)):
        raise DataError(
            "the labels are not class indices",
            found=f"labels up to {high}",
            expected="0 to k - 1",
            hint="set `target: regression` if they are numbers to be predicted, or list the `classes`",
        )
    if low == 1 < high:
        raise DataError(
            f"labels run from 1 to {high}",
            expected=f"0 to {high - 1}",
            hint=f"list 1 to {high} as `classes` if these are the model's outputs; or, if class 0 exists but "
            f"does not occur, set `classes: {high + 1}`",
        )
    return tuple(str(i) for i in range(high + 1))


def _look_up(noun: str, column: pa.Array, ids: pa.StringArray, names: tuple[str, ...]) -> Int64[Tensor, " n"]:
    """Class indices of int64 or string labels."""
    if pa.types.is_integer(column.type) and not all(name.isdecimal() for name in names):
        bad = pc.or_(pc.less(column, 0), pc.greater_equal(column, len(names)))
        first = pc.min_max(column).as_py()
        counted = len(column) > 0 and first["min"] == 1 and first["max"] == len(names)
        refuse(
            bad,
            f"{noun} out of range",
            ids,
            column,
            expected=f"0 to {len(names) - 1} ({len(names)} classes)",
            hint="labels run from 1 here: number them from 0" if counted else None,
        )
        index = column
    else:
        index = pc.index_in(column.cast(pa.string()), value_set=pa.array(names, pa.string()))
        shown = ", ".join(names[:12]) + (f", .. ({len(names)} classes)" if len(names) > 12 else "")
        refuse(
            pc.is_null(index),
            f"{noun} is not a class",
            ids,
            column,
            expected=f"one of {shown}",
        )
    return torch.from_numpy(index.to_numpy(zero_copy_only=False).astype(np.int64))


def _lists(column: pa.Array, separator: str | None) -> pa.ListArray:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return column
    if separator is None:
        raise DataError("the label column does not hold lists", found=column.type, hint="give a `separator`")
    text = pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))
    items = [[part.strip() for part in row.split(separator) if part.strip()] for row in text.to_pylist()]
    return pa.array(items, pa.list_(pa.string()))


def _numbers(noun: str, column: pa.Array, ids: pa.StringArray) -> Float[np.ndarray, " n"]:
    if not (is_number(column.type) or pa.types.is_boolean(column.type)):
        raise DataError(f"{noun} is not a number", place=sample_place(ids, 0), found=repr(column[0].as_py()))
    values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    refuse(
        pa.array(~np.isfinite(values)),
        f"{noun} is missing or not finite",
        ids,
        column,
    )
    return np.asarray(values)


def is_number(kind: pa.DataType) -> bool:
    """Whether a type of Arrow is one of numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
