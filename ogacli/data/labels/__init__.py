"""Label columns -> class indices, 0/1 per class, or the targets of a regression.

In: Arrow arrays of a table or an npy file, and the ids of the samples. Out: ``Targets``. In all sources
integers 0 to k-1 are class indices, strings are class names (sorted, unless ``classes`` gives their order),
and any other label raises an error with the id of its sample.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool, Float, Int16, Int64, Shaped
from pydantic import AfterValidator, BeforeValidator
from torch import Tensor

from ogacli.base.arrow import numbers, unpacked
from ogacli.base.arrow import texts as arrow_texts
from ogacli.base.blocks import blocks
from ogacli.base.blocks import column as whole_column
from ogacli.base.tables.values import NoNumbers, Refused, numbers_in
from ogacli.base.tables.written import Mark, are_numbers, cells
from ogacli.base.wording import listed
from ogacli.data.ids import refuse, sample_place
from ogacli.data.labels.class_names import check_blanks, hint_on_spelling, listed_names, whole
from ogacli.errors import DataError

Target = Literal["classes", "regression"]
"""``classes``: labels are classes; ``regression``: they are numbers to be predicted."""

_MOST_CLASSES = 100_000
"""Integer labels above this, and above n, are not accepted as classes."""
_MOST_NAMES = 1_000_000
"""Classes that a number may stand for."""


def _names(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        if value > _MOST_NAMES:
            raise ValueError(f"at most {_MOST_NAMES:,} classes")
        return tuple(str(i) for i in range(value))
    if isinstance(value, list | tuple):
        return tuple(_name(name) for name in value)
    return value


def _name(value: Any) -> str:
    """A class name that YAML read as another type: ``1.0`` is class 1, ``true`` is class ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"a class is named twice: {listed(twice, 4)}")
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

    labels: Int64[Tensor, " n"] | Float[Tensor, "n k"] | Int16[Tensor, "n w"]
    classes: tuple[str, ...]
    truth: Int64[Tensor, " n"] | Float[Tensor, "n k"] | Int16[Tensor, "n w"] | None = None
    differs: Bool[Tensor, " n"] | None = None
    """Which labels are not the true ones, where ``truth`` does not show it: of masks the place counts."""
    notes: tuple[str, ...] = ()
    """What is unusual about the labels; sentences without full stop."""
    class_order: ClassOrder = "given"


def arrow(array: Shaped[np.ndarray, " n"]) -> pa.Array:
    """A column of an array as an Arrow array; bytes become text."""
    if array.dtype.kind in "iufb" and array.dtype.isnative:
        return numbers(array)
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
    columns = {"label": classes_in("label", labels, ids)}
    if truth is not None:
        columns["truth"] = classes_in("truth", truth, ids)
    names = tuple(classes) if classes else found_names(columns, ids)
    found = {noun: look_up(noun, column, ids, names) for noun, column in columns.items()}
    return Targets(
        found["label"],
        names,
        found.get("truth"),
        notes=() if classes else check_blanks(names),
        class_order=order_of(columns, classes),
    )


def order_of(columns: Mapping[str, pa.Array], classes: Sequence[str] | None) -> ClassOrder:
    """By the columns of labels and the names that were given."""
    integers = all(pa.types.is_integer(column.type) for column in columns.values())
    if not classes:
        return "indices" if integers else "sorted"
    numbers = list(classes) == [str(i) for i in range(len(classes))]
    renamed = not all(name.isdecimal() for name in classes)
    return "indices" if integers and (numbers or renamed) else "given"


def regression_targets(
    columns: Mapping[str, pa.Array],
    ids: pa.StringArray,
    *,
    truth: Mapping[str, pa.Array] | None = None,
    mark: Mark | None = None,
) -> Targets:
    """One number a column, or several in a column of lists.

    Args:
        columns: The targets.
        ids: The samples' ids.
        truth: The true targets.
        mark: The decimal mark of numbers that are text.

    Raises:
        DataError: A value is missing or not a finite number.
    """
    values = numbers_of("label", columns, ids, mark)
    if truth is None:
        return Targets(values, ())
    true = numbers_of("truth", truth, ids, mark)
    if true.shape != values.shape:
        raise DataError(
            "the truth has another number of targets than the label",
            found=f"{true.shape[1]} targets",
            expected=f"{values.shape[1]} targets",
        )
    return Targets(values, (), true)


def numbers_of(
    noun: str, columns: Mapping[str, pa.Array], ids: pa.StringArray, mark: Mark | None = None
) -> Float[Tensor, "n k"]:
    """Columns of numbers, side by side.

    Raises:
        DataError: A value is missing or not a finite number.
    """
    parts = []
    for name, column in columns.items():
        try:
            values = numbers_in(name, column, ids, dates=(), mark=mark).values
        except (NoNumbers, Refused) as error:
            raise _no_number(f"{noun} {name!r}", column, ids, error, mark) from None
        bad = numbers(~np.isfinite(values).all(1))
        refuse(bad, f"{noun} {name!r} is missing or not finite", ids, column)
        parts.append(values)
    return torch.from_numpy(np.concatenate(parts, 1))


def _no_number(
    noun: str, column: pa.Array, ids: pa.StringArray, error: Exception, mark: Mark | None
) -> DataError:
    """The error that names the first label that is no number."""
    row = 0
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        row = max(0, pc.invert(are_numbers(cells(column), mark or ".")).index(True).as_py())
    return DataError(
        f"{noun} is not a number",
        place=sample_place(ids, row),
        found=repr(column[row].as_py()),
        expected=f"numbers; the column {error.problem}" if isinstance(error, Refused) else None,
        hint=error.mend or error.key if isinstance(error, Refused) else None,
    )


# --- classes --------------------------------------------------------------------------------------------


def classes_in(noun: str, column: pa.Array, ids: pa.StringArray) -> pa.Array:
    """The column as int64 or string, without nulls.

    Raises:
        DataError: A label is missing, or is no class.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        raise DataError(
            f"the {noun} column holds {column.type}",
            expected="one class a sample",
        )
    missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_floating(column.type):
        integral = pc.fill_null(pc.equal(pc.floor(column), column), True)
        refuse(
            pc.and_(pc.invert(integral), pc.invert(missing)),
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


def found_names(columns: Mapping[str, pa.Array], ids: pa.StringArray) -> tuple[str, ...]:
    """The classes that occur: 0 to the highest where all are integers, sorted names otherwise.

    Raises:
        DataError: Integers do not begin at 0, or are too large.
    """
    integers = [column for column in columns.values() if pa.types.is_integer(column.type)]
    if len(integers) < len(columns):
        names = {
            name for column in columns.values() for name in column.cast(pa.string()).unique().to_pylist()
        }
        numeric = all(name.isdecimal() for name in names)
        return tuple(sorted(names, key=lambda name: (int(name), name) if numeric else (0, name)))
    occurring = sorted({value for column in integers for value in column.unique().to_pylist()})
    low, high = (occurring[0], occurring[-1]) if occurring else (0, -1)
    if high >= max(_MOST_CLASSES, len(ids)):
        raise DataError(
            "the labels are not class indices",
            found=f"labels up to {high}",
            expected="0 to k - 1",
            hint="set `target: regression` if they are numbers to be predicted, or list the `classes`",
        )
    if 0 < low < high:
        which = f"{low} to {high}" if len(occurring) == high - low + 1 else "those that occur"
        named = listed_names([str(value) for value in occurring])
        raise DataError(
            f"labels run from {low} to {high}",
            expected=f"0 to {len(occurring) - 1}",
            hint=f"list {which} as `classes` if these are the model's outputs: {named}; or, if classes below "
            f"{low} exist but do not occur, set `classes: {high + 1}`",
        )
    return tuple(str(i) for i in range(high + 1))


def look_up(noun: str, column: pa.Array, ids: pa.StringArray, names: tuple[str, ...]) -> Int64[Tensor, " n"]:
    """Class indices of int64 or string labels.

    Raises:
        DataError: A label names no class.
    """
    if _are_places(column, names):
        index = column
    elif pa.types.is_integer(column.type) and not all(map(whole, names)):
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
        texts = _booleans(column.cast(pa.string()), names)
        index = pc.index_in(texts, value_set=arrow_texts(names))
        shown = ", ".join(names[:12]) + (f", .. ({len(names)} classes)" if len(names) > 12 else "")
        unknown = pc.is_null(index)
        refuse(
            unknown,
            f"{noun} is not a class",
            ids,
            column,
            expected=f"one of {shown}",
            hint=hint_on_spelling(texts, unknown, names),
        )
    values = unpacked(index)
    found = whole_column(len(values), np.int64)
    for block in blocks(len(found)):
        found[block] = values[block]
    return torch.from_numpy(found)


def _are_places(column: pa.Array, names: Sequence[str]) -> bool:
    """Whether labels are whole numbers from 0 to k - 1, and so are the names, in order."""
    if not pa.types.is_integer(column.type) or list(names) != [str(i) for i in range(len(names))]:
        return False
    ends = pc.min_max(column).as_py()
    return ends["min"] is not None and ends["min"] >= 0 and ends["max"] < len(names)


def _booleans(texts: pa.Array, names: Sequence[str]) -> pa.Array:
    """Labels such as ``True`` and ``FALSE``, where the classes are ``true`` and ``false``, as in YAML."""
    lower = pc.utf8_lower(texts)
    if set(names) != {"true", "false"} or not pc.all(pc.is_in(lower, value_set=pa.array(names))).as_py():
        return texts
    return lower
