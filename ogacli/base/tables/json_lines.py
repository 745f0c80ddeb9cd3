"""JSON lines -> an Arrow table; a value of another type than the rest of its column is told with its line."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ogacli.base.wording import cut
from ogacli.errors import DataError

_KINDS = (
    (bool, "true or false"),
    (int | float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)
_SHOWN = 60


def read_json_lines(content: bytes, place: str) -> pa.Table:
    """The table of a jsonl file in UTF-8; a key that a line lacks is null there.

    Raises:
        DataError: A line is no JSON object, or the values of a column differ in type.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    names: dict[str, None] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError("not JSON", place=f"{place}:{number}", found=str(error)) from None
        if not isinstance(row, dict):
            raise DataError(
                "not a JSON object", place=f"{place}:{number}", found=type(row).__name__, expected="{..}"
            )
        names.update(dict.fromkeys(row))
        rows.append(row)
        lines.append(number)
    return pa.table({name: _column(name, [row.get(name) for row in rows], lines, place) for name in names})


def _column(name: str, values: Sequence[Any], lines: Sequence[int], place: str) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise _mixed(name, values, lines, place, str(error).partition("\n")[0]) from None


def _mixed(name: str, values: Sequence[Any], lines: Sequence[int], place: str, reason: str) -> DataError:
    """The error that names the first value of another type than the first one."""
    expected, hint = None, f"write all values of {name!r} as one type, or null where there is none"
    known = [(value, line) for value, line in zip(values, lines, strict=True) if value is not None]
    first = _kind(known[0][0])
    for value, line in known:
        if _kind(value) != first:
            expected = f"{first}, as in line {known[0][1]}: {_shown(known[0][0])}"
            return DataError(
                f"the values of {name!r} differ in type",
                place=f"{place}:{line}",
                found=f"{_kind(value)}: {_shown(value)}",
                expected=expected,
                hint=hint,
            )
    return DataError(f"the values of {name!r} are no column", place=place, found=reason, hint=hint)


def _kind(value: Any) -> str:
    return next((noun for kind, noun in _KINDS if isinstance(value, kind)), type(value).__name__)


def _shown(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), _SHOWN)
