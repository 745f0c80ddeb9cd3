"""JSON lines -> an Arrow table; a value of another type than the rest of its column is told with its line."""

import bisect
import json
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

import pyarrow as pa

from ogacli.base.limits import USUAL, Limits
from ogacli.base.wording import cut
from ogacli.errors import DataError

_KINDS = (
    (bool, "true or false"),
    (Number, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)
_SHOWN = 60
CELL = 8
"""Bytes of a value, at least, while a column is made."""


def read_json_lines(content: bytes, place: str, limits: Limits = USUAL) -> pa.Table:
    """The table of a jsonl file in UTF-8; a key that a line lacks is null there.

    Args:
        content: The file.
        place: Its path, for messages.
        limits: Of what the table may take: lines that each have keys of their own make a column of each.

    Raises:
        DataError: A line is no JSON object, the values of a column differ in type, or the table is too large.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    names: dict[str, None] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise DataError("not JSON", place=f"{place}:{number}", found=reason) from None
        if not isinstance(row, dict):
            raise DataError(
                "not a JSON object", place=f"{place}:{number}", found=type(row).__name__, expected="{..}"
            )
        names.update(dict.fromkeys(row))
        rows.append(row)
        lines.append(number)

    limits.check_unpacked(len(rows) * len(names) * CELL, len(content), place, DataError)

    def line_of(row: int) -> str:
        return f"{place}:{lines[row]}"

    return pa.table({name: typed_column(name, [row.get(name) for row in rows], line_of) for name in names})


def typed_column(name: str, values: Sequence[Any], place_of: Callable[[int], str]) -> pa.Array:
    """Values of one type as an Arrow array.

    Args:
        name: Of the column.
        values: None where there is none.
        place_of: From the number of a value to its place.

    Raises:
        DataError: They are of several types, or no column can hold them.
    """
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
    row = bisect.bisect_left(range(len(values)), True, key=lambda end: not _is_column(values[: end + 1]))
    hint = f"write all values of {name!r} as one type, or null where there is none"
    first = next(i for i, value in enumerate(values) if value is not None and value == value)
    if first == row:
        raise DataError(f"the values of {name!r} are no column", place=place_of(row), found=reason, hint=hint)
    raise DataError(
        f"the values of {name!r} differ in type",
        place=place_of(row),
        found=f"{_kind(values[row])}: {_shown(values[row])}",
        expected=f"{_kind(values[first])}, as in {place_of(first)}: {_shown(values[first])}",
        hint=hint,
    )


def _is_column(values: Sequence[Any]) -> bool:
    """Whether an Arrow array can hold the values."""
    try:
        pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True


def _kind(value: Any) -> str:
    return next((noun for kind, noun in _KINDS if isinstance(value, kind)), type(value).__name__)


def _shown(value: Any) -> str:
    return cut(repr(value), _SHOWN)
