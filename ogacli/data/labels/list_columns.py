"""Columns of lists, and of lists that were written as text: ``"['ant', 'bee']"``.

In: an Arrow array. Out: whether it holds lists, and an array of lists.
"""

import ast
import re
from typing import Any

import pyarrow as pa

from ogacli.base.tables.written import are_lists, cells
from ogacli.data.ids import refuse

_ITEM = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+.\w]+"""
_LIST = re.compile(rf"[\[({{]\s*(?:(?:{_ITEM})\s*(?:,\s*(?:{_ITEM})\s*)*,?)?\s*[\])}}]|set\(\)", re.DOTALL)
"""A list as Python and JSON write it; without commas, as numpy writes it, strings would run together."""


def is_list(kind: pa.DataType) -> bool:
    """Whether a type of Arrow is one of lists."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in kinds)


def holds_lists(column: pa.Array) -> bool:
    """Whether a column holds lists, or lists that were written as text."""
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return is_list(column.type) or (text and are_lists(cells(column)))


def as_lists(column: pa.Array, ids: pa.StringArray) -> pa.ListArray:
    """A column that ``holds_lists``, as lists; ``"['ant', 'bee']"`` is read as the list that it shows.

    Raises:
        DataError: A text is not a list as Python or JSON write it.
    """
    if is_list(column.type):
        return column.cast(pa.list_(column.type.value_type))
    texts = cells(column)
    lists = [None if text is None else _parsed(text) for text in texts.to_pylist()]
    bad = pa.array([isinstance(found, str) for found in lists])
    refuse(
        bad,
        "a list that was written as text cannot be read",
        ids,
        texts,
        expected="""such as ['ant', 'bee'], with quotes and commas""",
        hint="write lists to jsonl or parquet; or write ant|bee, and set `separator: '|'`",
    )
    members = [member for found in lists if found is not None for member in found]
    if not all(isinstance(member, int) and not isinstance(member, bool) for member in members):
        lists = [None if found is None else [str(member) for member in found] for found in lists]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array(lists, pa.list_(pa.int64()))


def _parsed(text: str) -> list[Any] | str:
    """The members of a list; or the text, where it is none."""
    if _LIST.fullmatch(text) is None:
        return text
    try:
        found = ast.literal_eval(text)  # literals only: nothing in the text is run
    except (ValueError, SyntaxError):
        return text
    if isinstance(found, set):
        return sorted(found, key=str)
    return list(found) if isinstance(found, list | tuple) else text
