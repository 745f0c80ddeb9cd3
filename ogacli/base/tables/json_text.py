"""JSON objects as text: where the value of a key stands, so that one value is replaced and the rest stays.

In: a line with one JSON object. Out: the span of a value, or the line with another value or further keys.
"""

import json
from collections.abc import Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from ogacli.base.documents.json_document import parse_json
from ogacli.base.wording import cut
from ogacli.errors import DataError

_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"
_SHOWN = 80


def find(line: str, name: str, start: int = 0) -> tuple[int, int] | None:
    """The span of the value of a key; ``a.b`` is the key ``b`` of the object ``a``, or the key ``a.b``.

    Where a key occurs twice, the last one counts, as in Python's ``json``.
    """
    found = None
    for key, begin, end in _members(line, _skipped(line, start)):
        if key == name:
            found = begin, end
        elif name.startswith(f"{key}.") and line.startswith("{", begin):
            found = find(line, name[len(key) + 1 :], begin) or found
    return found


def value_in(line: str, name: str, place: str) -> tuple[Any, int, int]:
    """The value of a key, and where it begins and ends in the line.

    Raises:
        DataError: The line is no JSON object, or has no such key.
    """
    try:
        span = find(line, name)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError("not JSON", place=place, found=reason) from None
    if span is None:
        raise DataError(f"no key {name!r}", place=place, found=cut(line, _SHOWN))
    return parse_json(line[slice(*span)], place, DataError, finite=False), *span


def _members(line: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Each key of the object that begins at ``start``, and the span of its value."""
    place = _skipped(line, start + 1)
    while line.startswith('"', place):
        key, place = scanstring(line, place + 1)
        begin = _skipped(line, _skipped(line, place) + 1)
        _, end = _DECODER.raw_decode(line, begin)
        yield key, begin, end
        place = _skipped(line, _skipped(line, end) + 1)


def _skipped(line: str, place: int) -> int:
    while place < len(line) and line[place] in _BLANK:
        place += 1
    return place


def with_keys(line: str, values: Mapping[str, Any], place: str) -> str:
    """The line with further keys at the end of its object.

    Raises:
        DataError: It is no object.
    """
    end = line.rfind("}")
    if end < 0 or not line.lstrip(_BLANK).startswith("{") or line[end + 1 :].strip(_BLANK):
        raise DataError("not a JSON object", place=place, found=cut(line, _SHOWN))
    inside = line[:end].rstrip(_BLANK)
    added = ", ".join(f"{text(name)}: {text(value)}" for name, value in values.items())
    return f"{inside}{'' if inside.endswith('{') else ', '}{added}{line[end:]}"


def text(value: Any) -> str:
    """A value as JSON, in the way of all files of this tool."""
    return json.dumps(value, ensure_ascii=False, default=str)
