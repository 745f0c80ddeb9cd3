"""The columns of a table that are features, and their values.

In: a table, and the columns that have another role. Out: numbers [n, f], and which columns they come from,
which are left out, and why. A column that may be meant as numbers and cannot be read as such is an error.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from ogacli.base.tables import NAMELESS
from ogacli.base.tables.columns import Columns, LeftOut
from ogacli.base.tables.values import NoNumbers, Part, Refused, numbers_in
from ogacli.base.tables.written import Mark
from ogacli.base.wording import listed, scalar, suggestion
from ogacli.errors import DataError

_INDEX = re.compile(
    r"(index|idx|id|rows?|row.?(no|nr|num|number|id|index|names?)|record.?(id|no|number)?|nr|no\.?|#|number"
    r"|nummer|s\.?no\.?|level_0|(sample|item|example).?(id|no|number|index))",
    re.IGNORECASE,
)
"""Usual names of columns that number the rows."""
_NAMELESS = re.compile(rf"({re.escape(NAMELESS)}|Unnamed: )\d+(\.\d+)?|__index_level_\d+__|\s*")
"""Names that pandas and this reader give to columns without one."""
_COUNTED = 10
"""So many values that count up are no accident."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns are features, as given by the user."""

    taken: Collection[str] = ()
    """Columns with another role, such as the label."""
    only: Sequence[str] | None = None
    """The features; None for all columns of numbers."""
    leave_out: Collection[str] = ()
    dates: Collection[str] | Mapping[str, str] = ()
    """Columns of dates that become numbers of days; a mapping has their formats."""
    decimal: Mark | None = None
    keys: bool = True
    """Whether the user has the keys of a data section, for messages."""


@dataclass(frozen=True, slots=True)
class Features:
    """The values of all features."""

    values: Float32[np.ndarray, "n f"]
    names: tuple[str, ...]
    """Of each number."""
    columns: Columns


def features_of(table: pa.Table, place: str, choice: Choice, ids: Sequence[str] | pa.Array) -> Features:
    """The features of a table; none of them where no column is one.

    Args:
        table: Its columns have names that differ.
        place: The table, for messages.
        choice: What the user gave.
        ids: The name of each row, for messages.

    Raises:
        DataError: A named column does not exist or holds no numbers; or a column is nearly one of numbers, or
            one of dates.
    """
    for name in (*(choice.only or ()), *choice.leave_out, *choice.dates):
        if name not in table.column_names:
            problem = f"no column {name!r}{suggestion(name, table.column_names)}"
            raise DataError(problem, place=place, found=", ".join(table.column_names))
    parts: dict[str, Part] = {}
    left_out: dict[str, str] = {}
    refused: dict[str, Refused] = {}
    others = [name for name in table.column_names if name not in choice.taken]
    for name in others if choice.only is None else choice.only:
        try:
            parts[name] = _part(table, name, choice, ids)
        except NoNumbers as error:
            left_out[name] = str(error)
        except Refused as error:
            refused[name] = error
    if refused:
        raise _refusal(refused, place, choice)
    if choice.only is not None:
        if left_out:
            raise _no_feature(table, next(iter(left_out)), place)
        left_out = {name: "not among `features`" for name in others if name not in choice.only}
    columns = Columns(
        features=tuple(parts),
        inputs=sum(len(part.names) for part in parts.values()),
        left_out=tuple(LeftOut(name, why) for name, why in left_out.items()),
        notes=tuple(part.note for part in parts.values() if part.note),
    )
    values = [part.values for part in parts.values()]
    matrix = np.concatenate(values, 1) if values else np.zeros((len(table), 0), np.float32)
    return Features(matrix, tuple(name for part in parts.values() for name in part.names), columns)


def _part(table: pa.Table, name: str, choice: Choice, ids: Sequence[str] | pa.Array) -> Part:
    """One column as numbers.

    Raises:
        NoNumbers: It is left out.
        Refused: The user must decide.
    """
    column = table.column(name).combine_chunks()
    column = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
    if choice.only is None:
        if name in choice.leave_out:
            raise NoNumbers("named in `leave_out`")
        if _NAMELESS.fullmatch(name):
            raise NoNumbers("has no name" + ("; counts the rows" if _counts(column) else ""))
    part = numbers_in(name, column, ids, dates=choice.dates, mark=choice.decimal)
    if choice.only is None:
        if not np.isfinite(part.values).any():
            raise NoNumbers("no values")
        if _counts(column) and len(column) >= (2 if _INDEX.fullmatch(name) else _COUNTED):
            raise NoNumbers("counts the rows")
        if _INDEX.fullmatch(name) and _are_whole(column) and len(column.unique()) == len(column) > 1:
            raise NoNumbers("numbers the rows")
    return part


def _are_whole(column: pa.Array) -> bool:
    """Whether all values are whole numbers."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
        return False
    return bool(pc.all(pc.equal(pc.floor(column.cast(pa.float64())), column.cast(pa.float64()))).as_py())


def _counts(column: pa.Array) -> bool:
    """Whether the values are whole numbers, each one more than the one before."""
    return _are_whole(column) and bool((np.diff(column.to_numpy(zero_copy_only=False)) == 1).all())


def _no_feature(table: pa.Table, name: str, place: str) -> DataError:
    return DataError(
        f"column {name!r} is not numeric",
        place=place,
        found=table.schema.field(name).type,
        hint="name it under `categorical`, or leave it out of `features`",
    )


def _refusal(refused: Mapping[str, Refused], place: str, choice: Choice) -> DataError:
    """One error for all columns that the user must decide about."""
    names = ", ".join(scalar(name) for name in refused)
    if not choice.keys:
        rest = "or drop it from the frame" if len(refused) == 1 else "or drop them from the frame"
    elif choice.only is not None:
        rest = "or take it out of `features`" if len(refused) == 1 else "or take them out of `features`"
    else:
        rest = f"or leave {'it' if len(refused) == 1 else 'them'} out: `leave_out: [{names}]`"
    hints = dict.fromkeys(error.hint(choice.keys) for error in refused.values())
    (name, first), several = next(iter(refused.items())), len(refused) > 1
    return DataError(
        f"{len(refused)} columns are neither numbers nor plainly text"
        if several
        else f"column {name!r} {first.problem}",
        place=place,
        found=listed([f"{name!r} {error.problem} ({error.found})" for name, error in refused.items()], 6)
        if several
        else first.found,
        hint=", ".join([*hints, rest]),
    )
