"""Numbers and texts formatted for display. In: values. Out: short strings."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any


def number(count: int) -> str:
    """A count with thousands separators: ``12,345``."""
    return f"{count:,}"


def percent(share: float) -> str:
    """A share in percent with one decimal; ``0.0%`` and ``100.0%`` are exact, not rounded."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def part(count: int, total: int) -> str:
    """``90 of 1,797 (5.0%)``."""
    return f"{number(count)} of {number(total)}" + (f" ({percent(count / total)})" if total else "")


def decimal(value: float | None) -> str:
    """Four significant digits, enough to distinguish scores; empty where there is none."""
    return "" if value is None else f"{value:.4g}"


def budget(value: Any) -> str:
    """A budget, a plain YAML value, as a phrase: ``5% of the samples``."""
    if isinstance(value, Mapping):
        return "benefit: as many as it helps to leave out" if "benefit" in value else _review(value)
    if value == "auto":
        return "auto: as many as labels are estimated to be wrong"
    if isinstance(value, float):
        return f"{100 * value:.4g}% of the samples"
    return f"{value:,} samples" if isinstance(value, int) else str(value)


def _review(value: Mapping[str, Any]) -> str:
    return f"{budget(value['review'])}, to be looked at: none is dropped without a decision"


def label(value: object) -> str:
    """A label of ``scores.parquet``: a name, a number, or a list of either."""
    if isinstance(value, float):
        return decimal(value)
    if isinstance(value, list):
        return ", ".join(label(item) for item in value) or "none"
    return str(value)


def cut(text: str, length: int) -> str:
    """``text`` in at most ``length`` characters; the middle of a longer text is left out."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, which a terminal obeys
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e-\u200f\u3164\ufeff\uffa0"  # no width
    "\u2028-\u202e\u2060-\u206f\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # direction, tags
    "\ud800-\udfff]"  # half a character, which no file or terminal takes
    # Joiners belong to Persian and Indic words and to emoji; beside other letters they hide something.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
"""Characters that are not displayed themselves: they change how others are displayed, or nothing is seen."""


def visible(text: str) -> str:
    r"""``text`` with characters that cannot be seen, or that a terminal would obey, as their numbers.

    ``\u202e`` stands for a character that turns the direction of what follows, ``\x1b`` for that which begins
    the commands of a terminal. Tabs and newlines stay.
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def visible_json(document: str) -> str:
    r"""A JSON document that is equal, with the same characters as ``\u`` escapes."""
    return _HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1] if match[0] > "\x1f" else match[0], document)


def suggestion(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'trees'?``, or nothing."""
    lower = {one.lower(): one for one in reversed(known)}
    near = [lower[one] for one in get_close_matches(name.lower(), lower, n=1)]
    return f"; did you mean {near[0]!r}?" if near else ""


def scalar(text: str) -> str:
    """A text as it is written in YAML, in quotes where it would be read as something else: ``01``, ``no``."""
    word = re.fullmatch(r"[A-Za-z_][\w./-]*|0|[1-9]\d*", text)
    if word and text.lower() not in ("true", "false", "yes", "no", "on", "off", "null", "y", "n"):
        return text
    return "'" + text.replace("'", "''") + "'"


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names separated by commas, at most ``limit`` of them."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f", and {number(rest)} more" if rest > 0 else "")
