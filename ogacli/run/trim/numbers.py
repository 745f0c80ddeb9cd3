"""How the source writes its numbers: the digits of a new target -> the value in the label column.

In: the texts of some numbers of the source. Out: a value in the form of the one in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from ogacli.base.documents.json_document import parse_json
from ogacli.errors import DataError

LOOKED_AT = 1000
"""Rows of a text file in which decimal places are counted."""
_PLACES = re.compile(r"[+-]?\d*[.,]?(\d*)")


def decimal_places(texts: Iterable[str]) -> int | None:
    """The largest number of digits after a decimal mark; None where a number has an exponent."""
    most = 0
    for text in texts:
        found = _PLACES.fullmatch(text.strip())
        if found is None:
            return None
        most = max(most, len(found[1]))
    return most


def new_numbers(
    digits: Sequence[str], old: Sequence[Any], places: Sequence[int | None] = (), mark: str = "."
) -> list[Any]:
    """The values of label columns.

    Args:
        digits: Of the new targets.
        old: The values in their place: one for each target, or one list of all.
        places: Decimal places of each column; by default as many as the number has.
        mark: The decimal mark of texts.
    """
    if len(old) == 1 and len(digits) > 1:
        return [_listed(digits, old[0])]
    several = places or [None] * len(digits)
    return [_one(*each, mark) for each in zip(digits, old, several, strict=True)]


def _listed(digits: Sequence[str], old: Any) -> Any:
    if isinstance(old, str):
        return json.dumps(_listed(digits, parse_json(old, "a list of targets", DataError)))
    return [_one(*each, None, ".") for each in zip(digits, old, strict=True)]


def _one(digits: str, old: Any, places: int | None, mark: str) -> Any:
    number = float(digits)
    if isinstance(old, str):
        return (digits if places is None else f"{number:.{places}f}").replace(".", mark)
    if isinstance(old, Decimal):
        return Decimal(digits).quantize(old)
    if isinstance(old, int) and places in (None, 0):
        return round(number)
    return number if places is None else round(number, places)
