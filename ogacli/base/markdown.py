"""GitHub-flavoured Markdown that says what it was given, whatever that is. In: texts. Out: markup."""

import re
from collections.abc import Iterable, Sequence

from ogacli.base.wording import visible


def code(text: str) -> str:
    """``text`` as code, in which nothing is markup, a mention or the end of a table's cell."""
    line = _line(text)
    if "|" in line:  # splits a cell even within backticks, and behind a backslash it cannot be escaped
        return f"<code>{_entities(line)}</code>"
    if not line:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def plain(text: str) -> str:
    """``text`` with its punctuation escaped, so that it reads as it is written."""
    return re.sub(r"([\\`*_\[\]#|<>&~])", r"\\\1", _line(text))


def _line(text: str) -> str:
    """``text`` in one line that controls no terminal."""
    return visible(" ".join(text.split()))


def _entities(text: str) -> str:
    return re.sub(r"[!-/:-@\[-`{-~]", lambda match: f"&#{ord(match[0])};", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: int) -> str:
    """A table whose last ``numeric`` columns are aligned to the right."""
    rules = ["---"] * (len(head) - numeric) + ["---:"] * numeric
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))


def warnings(texts: Sequence[str]) -> list[str]:
    """The warnings of a diagnosis as one alert; nothing where there are none."""
    return ["\n".join(["> [!WARNING]", *(f"> - {plain(text)}" for text in texts)])] if texts else []
