"""Any text as GitHub-flavoured Markdown that is displayed as the text. In: texts. Out: markup."""

import re
from collections.abc import Iterable, Sequence

from ogacli.base.wording import visible


def code(text: str) -> str:
    """``text`` as code: nothing in it acts as markup, a mention or the end of a table cell."""
    line = _line(text)
    if "|" in line:  # ends a table cell even within backticks, where a backslash does not escape it
        return f"<code>{_entities(line)}</code>"
    if not line:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def plain(text: str) -> str:
    """``text`` with its punctuation escaped, so that it is displayed unchanged."""
    return re.sub(r"([\\`*_\[\]#|<>&~])", r"\\\1", _line(text))


def _line(text: str) -> str:
    """``text`` on one line, with control and invisible characters escaped."""
    return visible(" ".join(text.split()))


def _entities(text: str) -> str:
    return re.sub(r"[!-/:-@\[-`{-~]", lambda match: f"&#{ord(match[0])};", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: int) -> str:
    """A table whose last ``numeric`` columns are aligned to the right."""
    rules = ["---"] * (len(head) - numeric) + ["---:"] * numeric
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))


def warnings(texts: Sequence[str]) -> list[str]:
    """The warnings of a diagnosis as one alert; an empty list where there are none."""
    return ["\n".join(["> [!WARNING]", *(f"> - {plain(text)}" for text in texts)])] if texts else []
