"""The values of one column of a table as numbers.

In: an Arrow array of any type. Out: numbers [n, w]; or the reason why the column has none; or a ``Refused``,
where it may be meant as numbers and the user must decide.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from ogacli.base.tables import written
from ogacli.base.wording import cut, listed, number, scalar

_DAY = 86_400_000_000
"""Microseconds."""
_FIRST, _SHOWN = 3, 40
"""Bad cells that are named, and characters of a cell."""
_NEARLY = 0.8
"""The share of the rows from which on lists of another length are mistakes."""

Dates = Collection[str] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """The values of one column."""

    values: Float32[np.ndarray, "n w"]
    """NaN where there is none."""
    names: tuple[str, ...]
    note: str | None = None
    """What was not plain about the cells."""


class NoNumbers(Exception):
    """The column holds something else; the text is the reason for leaving it out."""


class Refused(Exception):
    """The column may be meant as numbers.

    Args:
        problem: The sentence after the name of the column.
        found: The first cells.
        key: What a data section may say to decide; None where the cells must be mended.
        mend: What to do with the table.
    """

    def __init__(self, problem: str, found: str, *, key: str | None = None, mend: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.found = found
        self.key = key
        self.mend = mend

    def hint(self, keys: bool) -> str:
        """The next step, for a user who has the keys of a data section, or has not."""
        if self.key is not None and keys:
            return self.key
        return self.mend or "convert it to numbers"


def numbers_in(
    name: str, column: pa.Array, ids: Sequence[str] | pa.Array, *, dates: Dates, mark: written.Mark | None
) -> Part:
    """A column as numbers.

    Args:
        name: Of the column.
        column: Of any type.
        ids: The name of each row.
        dates: Columns of dates that become numbers of days, and their formats.
        mark: The decimal mark of numbers that are text; None where it is not known.

    Raises:
        NoNumbers: It has none.
        Refused: The user must decide.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_null(kind):
        raise NoNumbers("no values")
    if _is_numeric(kind):
        return Part(_floats(column)[:, None], (name,))
    if pa.types.is_temporal(kind):
        return _days(name, column, dates)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _of_text(name, column.cast(pa.string()), ids, dates, mark)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _of_lists(name, column, ids)
    raise NoNumbers(f"holds {kind}")


def _floats(column: pa.Array) -> Float32[np.ndarray, " n"]:
    return np.asarray(pc.cast(column, pa.float32(), safe=False).to_numpy(zero_copy_only=False))


def _is_numeric(kind: pa.DataType) -> bool:
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(is_one(kind) for is_one in numeric)


# --- dates ----------------------------------------------------------------------------------------------


def _days(name: str, column: pa.Array, dates: Dates) -> Part:
    """Dates as days since 1970, times of day as parts of a day, durations as days."""
    kind = column.type
    if name not in dates:
        first = pc.drop_null(column)
        if not len(first):
            raise NoNumbers("no values")
        raise _dates(name, str(first[0].as_py()))
    if pa.types.is_time(kind):
        column = column.cast(pa.time64("us"))
    elif pa.types.is_duration(kind):
        column = column.cast(pa.duration("us"), safe=False)
    else:
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
    days = pc.divide(pc.cast(column.cast(pa.int64()), pa.float64()), float(_DAY))
    return Part(
        _floats(days)[:, None], (name,), f"column {name!r} is a date, and its feature a number of days"
    )


def _dates(name: str, first: str, format: str | None = None) -> Refused:
    key = f"[{scalar(name)}]" if format is None else f"{{{scalar(name)}: '{format}'}}"
    return Refused(
        "holds dates",
        repr(cut(first, _SHOWN)),
        key=f"turn dates into numbers of days by `dates: {key}`",
        mend="convert dates to numbers",
    )


def _dates_in_text(name: str, texts: pa.Array, ids: Sequence[str] | pa.Array, dates: Dates) -> Part:
    """Dates that are text, in the format that the user gave, or as ISO writes them."""
    format = dates[name] if isinstance(dates, Mapping) else None
    if format is None:
        try:
            return _days(name, texts.cast(pa.timestamp("us")), dates)
        except pa.ArrowException:
            raise _dates(name, pc.drop_null(texts)[0].as_py(), "%d.%m.%Y") from None
    found = pc.strptime(texts, format=format, unit="us", error_is_null=True)
    bad = pc.and_(pc.is_null(found), pc.is_valid(texts))
    if pc.any(bad).as_py():
        raise Refused(
            f"holds dates in another format than {format!r}",
            _bad_cells(bad, texts, ids),
            mend="mend these cells or the format",
        )
    return _days(name, found, dates)


# --- text -----------------------------------------------------------------------------------------------


def _of_text(
    name: str, column: pa.Array, ids: Sequence[str] | pa.Array, dates: Dates, mark: written.Mark | None
) -> Part:
    texts = written.cells(column)
    if texts.null_count == len(texts):
        raise NoNumbers("no values")
    if name in dates:
        return _dates_in_text(name, texts, ids, dates)
    first = cut(pc.drop_null(texts)[0].as_py(), _SHOWN)
    if written.are_lists(texts):
        return _lists_in_text(name, texts, ids)
    if written.have_leading_zeros(texts):
        raise NoNumbers(f"codes with leading zeros, or text, such as {first!r}")
    points, commas = written.are_numbers(texts, "."), written.are_numbers(texts, ",")
    if mark is None:
        mark = _mark(texts, points, commas)
    good = points if mark == "." else commas
    if pc.all(good).as_py():
        plain = pc.match_substring_regex(texts, r"^[+-]?\d+$")
        shown = texts.filter(pc.invert(pc.fill_null(plain, True)))
        values = written.numbers(texts, mark)
        note = f"column {name!r} holds numbers as text"
        if len(shown):
            value = written.numbers(shown, mark)[0].as_py()
            note += f": {shown[0].as_py()!r} is read as {value:.10g}"
        return Part(_floats(values)[:, None], (name,), note)
    if written.nearly(written.are_amounts(texts), texts):
        bad = pc.fill_null(pc.invert(good), False)
        count = pc.sum(bad).as_py()
        known = len(texts) - texts.null_count
        raise Refused(
            f"is nearly all numbers: {number(count)} of {number(known)} cells "
            f"{'is not' if count == 1 else 'are not'}"
            if count < known
            else "holds numbers beside other signs",
            _bad_cells(bad, texts, ids),
            key="mend these cells, name it under `categorical`",
            mend="mend these cells",
        )
    if written.are_dates(texts):
        iso = pc.all(pc.match_substring_regex(texts, r"^\d{4}-\d{2}-\d{2}")).as_py()
        raise _dates(name, first, None if iso else "%d.%m.%Y")
    raise NoNumbers(f"text, such as {first!r}")


def _mark(texts: pa.Array, points: pa.Array, commas: pa.Array) -> written.Mark:
    """The decimal mark of a column, where the table does not show it.

    Raises:
        Refused: The column can be read with either.
    """
    pairs = ((points, commas), (commas, points))
    only = [pc.sum(pc.and_not(these, others)).as_py() or 0 for these, others in pairs]
    if not any(only) and (cell := written.ambiguous(texts)) is not None:
        one, other = (written.numbers(pa.array([cell]), mark)[0].as_py() for mark in (".", ","))
        raise Refused(
            "may have decimal points or decimal commas",
            f"{cell!r} is {one:.10g} or {other:.10g}",
            key="give the decimal mark: `decimal: '.'` or `decimal: ','`",
        )
    return "," if only[1] > only[0] else "."


def _bad_cells(bad: pa.Array, texts: pa.Array, ids: Sequence[str] | pa.Array) -> str:
    """The first bad cells, each with its sample."""
    rows = np.flatnonzero(bad.to_numpy(zero_copy_only=False)).tolist()
    shown = [f"sample {str(ids[row])!r}: {cut(texts[row].as_py(), _SHOWN)!r}" for row in rows[:_FIRST]]
    return listed([*shown, *map(str, rows[_FIRST:])], _FIRST)


# --- lists ----------------------------------------------------------------------------------------------


def _lists_in_text(name: str, texts: pa.Array, ids: Sequence[str] | pa.Array) -> Part:
    lists = written.lists_of_numbers(texts)
    if lists is not None:
        return _of_lists(name, lists, ids)
    first = cut(pc.drop_null(texts)[0].as_py(), _SHOWN)
    if pc.all(pc.match_substring_regex(texts, r"^\[[-+0-9.eE,\s]*(\.\.\.)?[-+0-9.eE,\s]*\]$")).as_py():
        raise Refused(
            "holds lists of numbers written as text that cannot be read",
            repr(first),
            mend="write the lists to a parquet or jsonl file, or as `[0.5, 1.5]`",
        )
    raise NoNumbers(f"text, such as {first!r}")


def _of_lists(name: str, column: pa.Array, ids: Sequence[str] | pa.Array) -> Part:
    """Lists of one length, such as embeddings: a feature for each place."""
    if not _is_numeric(column.type.value_type):
        raise NoNumbers(f"lists of {column.type.value_type}")
    lists = column.cast(pa.list_(column.type.value_type))
    lengths = pc.list_value_length(lists)
    counts: list[Any] = sorted(
        pc.value_counts(pc.drop_null(lengths)).to_pylist(), key=lambda one: -one["counts"]
    )
    width = max((one["values"] for one in counts), default=0)
    if width == 0:
        raise NoNumbers("no values")
    if len(counts) > 1:
        width = counts[0]["values"]
        if counts[0]["counts"] < _NEARLY * (len(lists) - lists.null_count):
            raise NoNumbers(f"lists of different lengths, such as {width} and {counts[1]['values']}")
        row = pc.not_equal(lengths, width).index(True).as_py()
        raise Refused(
            f"holds lists of {width} numbers, but for some",
            f"sample {str(ids[row])!r}: a list of {lengths[row].as_py()}",
            mend=f"give all lists {width} numbers",
        )
    values = np.full((len(lists), width), np.nan, np.float32)
    known = lists.is_valid().to_numpy(zero_copy_only=False)
    values[known] = _floats(lists.flatten()).reshape(-1, width)
    return Part(values, tuple(f"{name}[{i}]" for i in range(width)))
