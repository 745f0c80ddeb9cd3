"""Columns of text whose cells are numbers, dates or lists.

In: an Arrow array of strings. Out: which cells are numbers, and their values; the decimal mark that the cells
of a table show; whether they are dates; lists that were written as text.
"""

import json
from collections.abc import Collection, Iterable
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Mark = Literal[".", ","]
"""The decimal mark of numbers."""

MISSING = (
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", ""),
)
"""Cells without a value: those of pyarrow and pandas."""
_NEARLY = 0.8
"""The share of the cells from which on a column is taken for one of numbers, dates or lists."""
_WORDS = 2
"""Words that cells of a column of numbers may repeat in place of a number."""
_GROUPING = r"'\x{2019} \x{a0}\x{202f}\x{2009}"
"""Apostrophes and spaces between groups of three digits, beside the mark that is not the decimal one."""
_SIGN = r"[$€£¥₹%°]"
_DAY = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
    r"|\d{1,2}[-. ][A-Za-z]{3,9}[-., ]+\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"
)
_DATE = rf"^({_DAY})([T ,]+\d{{1,2}}:\d{{2}}\S*( ?[AaPp][Mm])?)?$"
_TIME = r"^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$"


_LISTS = r"""(?s)^(\[.*\]|\((['"].*,.*)?\)|\{['"].*\}|set\(\))$"""


def cells(column: pa.Array) -> pa.Array:
    """The cells with a value, as text; others are null."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.is_in(texts, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), texts)


def are_numbers(texts: pa.Array, mark: Mark) -> pa.Array:
    """Whether each cell is a number with this decimal mark; null where it has no value."""
    group = "," if mark == "." else "."
    point, between = rf"\{mark}", rf"[\{group}{_GROUPING}]"
    plain = rf"(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d+)?"
    grouped = rf"[1-9]\d{{0,2}}({between}\d{{3}})+({point}\d*)?"
    return pc.match_substring_regex(texts, rf"^[+-]?({plain}|{grouped}|(?i:inf|infinity))$")


def numbers(texts: pa.Array, mark: Mark) -> pa.Array:
    """The values of cells that are numbers with this decimal mark; null elsewhere."""
    found = pc.if_else(are_numbers(texts, mark), texts, pa.scalar(None, pa.string()))
    found = pc.replace_substring_regex(found, rf"[\{',' if mark == '.' else '.'}{_GROUPING}]", "")
    return pc.cast(pc.replace_substring(found, mark, "."), pa.float64())


def are_amounts(texts: pa.Array) -> pa.Array:
    """Whether each cell is a number, alone or beside a sign such as ``$`` or ``%``."""
    bare = pc.replace_substring_regex(texts, rf"^({_SIGN}\s*)|(\s*{_SIGN})$", "")
    bare = pc.replace_substring_regex(bare, rf"\s*{_SIGN}$", "")
    return pc.or_(are_numbers(bare, "."), are_numbers(bare, ","))


def nearly(matches: pa.Array, texts: pa.Array) -> bool:
    """Whether nearly all cells match, or half of them where the others repeat one or two words."""
    return _nearly(len(texts) - texts.null_count, _count(matches), _others(matches, texts))


def _nearly(total: int, count: int, others: Collection[str]) -> bool:
    """As ``nearly``: cells, those that match, and the first words that do not."""
    if not count:
        return False
    return count >= _NEARLY * total or (count >= total / 2 and len(others) <= _WORDS)


def _others(matches: pa.Array, texts: pa.Array) -> list[str]:
    """The first words that do not match; one more than may be repeated."""
    others = pc.if_else(pc.fill_null(matches, True), pa.scalar(None, pa.string()), texts)
    found: list[str] = pc.unique(pc.drop_null(others))[: _WORDS + 1].to_pylist()
    return found


def have_leading_zeros(texts: pa.Array) -> bool:
    """Whether a cell is a code such as ``007``, which is no number."""
    return bool(_count(pc.match_substring_regex(texts, r"^[+-]?0\d+$")))


def are_dates(texts: pa.Array) -> bool:
    """Whether nearly all cells are dates or times of day."""
    dates = pc.or_(pc.match_substring_regex(texts, _DATE), pc.match_substring_regex(texts, _TIME))
    return bool(_count(dates) >= max(1, _NEARLY * (len(texts) - texts.null_count)))


class Tally:
    """What the cells of a column say about the decimal mark; they may come in blocks."""

    def __init__(self) -> None:
        self.ambiguous = False
        """Whether a cell is another number with either mark."""
        self._total = self._numbers = self._points = self._commas = 0
        self._others: set[str] = set()

    def add(self, column: pa.Array) -> None:
        """Count the cells of a column of text."""
        texts = cells(column)
        points, commas = are_numbers(texts, "."), are_numbers(texts, ",")
        either = pc.or_(points, commas)
        self.ambiguous = self.ambiguous or ambiguous(texts) is not None
        self._total += len(texts) - texts.null_count
        self._numbers += _count(either)
        self._points += _count(pc.and_not(points, commas))
        self._commas += _count(pc.and_not(commas, points))
        if len(self._others) <= _WORDS:
            self._others.update(_others(either, texts))

    def marks(self) -> set[Mark]:
        """The decimal marks without which a cell would be no number."""
        if not _nearly(self._total, self._numbers, self._others):
            return set()
        counts: tuple[tuple[Mark, int], ...] = ((".", self._points), (",", self._commas))
        return {mark for mark, count in counts if count}


def marks(columns: Iterable[pa.Array]) -> set[Mark]:
    """The decimal marks without which a cell of these columns would be no number."""
    found: set[Mark] = set()
    for column in columns:
        tally = Tally()
        tally.add(column)
        found |= tally.marks()
    return found


def ambiguous(texts: pa.Array) -> str | None:
    """The first cell that is another number with either decimal mark; None where there is none."""
    both = pc.and_(are_numbers(texts, "."), are_numbers(texts, ","))
    both = pc.and_(both, pc.match_substring_regex(texts, r"[.,]"))
    first = both.index(True).as_py()
    return None if first < 0 else str(texts[first].as_py())


def are_lists(texts: pa.Array) -> bool:
    """Whether all cells are lists written as text: ``[..]``, or tuples or sets of texts of Python."""
    return bool(0 < len(texts) - texts.null_count == _count(pc.match_substring_regex(texts, _LISTS)))


def lists_of_numbers(texts: pa.Array) -> pa.Array | None:
    """Lists of numbers written as text, such as ``[0.5, 1]``; None where a cell is none."""
    rows = ["null" if text is None else text for text in texts.to_pylist()]
    try:
        return pa.array(json.loads(f"[{','.join(rows)}]"), pa.list_(pa.float64()))
    except (ValueError, TypeError, RecursionError, pa.ArrowException):
        return None


def _count(matches: pa.Array) -> int:
    count: int | None = pc.sum(matches).as_py()
    return count or 0
