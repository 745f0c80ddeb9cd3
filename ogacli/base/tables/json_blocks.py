"""JSON lines -> blocks of typed rows: one look over the file for the types, another one for the rows."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from ogacli.base.limits import USUAL
from ogacli.base.tables.blocks import Blocks, NotByBlocks
from ogacli.base.tables.json_lines import CELL
from ogacli.errors import DataError

_ROWS = 4096


def json_blocks(opened: Callable[[], AbstractContextManager[Iterable[str]]], place: str) -> Blocks:
    """The rows of a jsonl file, with the types that ``read_json_lines`` gives them.

    Args:
        opened: Opens the file for reading its lines.
        place: Its path, for messages.

    Raises:
        NotByBlocks: A line is no JSON object, the values of a column differ in type, or most are missing.
    """
    types: dict[str, pa.DataType] = {}
    count = given = 0
    try:
        for rows in _blocks(opened):
            names = dict.fromkeys(name for row in rows for name in row)
            _refuse_gaps(len(rows) * len(names), sum(map(len, rows)))
            for name in names:
                found = pa.array([row.get(name) for row in rows], from_pandas=True).type
                types[name] = pa.array([_like(types.get(name, found)), _like(found)]).type
            count, given = count + len(rows), given + sum(map(len, rows))
            _refuse_gaps(count * len(types), given)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        raise NotByBlocks from None
    schema = pa.schema(types.items())

    def read() -> Iterator[pa.RecordBatch]:
        for rows in _blocks(opened):
            columns = [_column([row.get(field.name) for row in rows], field, place) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Blocks(schema, read)


def _refuse_gaps(cells: int, given: int) -> None:
    """Refuse a table whose cells are nearly all empty, as each line has keys of its own.

    Raises:
        NotByBlocks: It is one.
    """
    if cells * CELL > USUAL.allowed(given * CELL):
        raise NotByBlocks


def _column(values: Sequence[Any], field: pa.Field, place: str) -> pa.Array:
    try:
        return pa.array(values, field.type, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"the values of {field.name!r} are no column",
            place=place,
            found=str(error).partition("\n")[0],
            hint=f"write all values of {field.name!r} as one type, or null where there is none",
        ) from None


def _blocks(opened: Callable[[], AbstractContextManager[Iterable[str]]]) -> Iterator[list[dict[str, Any]]]:
    with opened() as lines:
        filled = (line for line in lines if line.strip())
        while rows := list(map(_row, itertools.islice(filled, _ROWS))):
            yield rows


def _row(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise NotByBlocks from None
    if not isinstance(found, dict):
        raise NotByBlocks
    return found


def _like(kind: pa.DataType) -> Any:
    """A value whose type Arrow finds to be this one; so Arrow itself says what two types become together."""
    if pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        return {field.name: _like(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [_like(kind.value_type)]
    if pa.types.is_boolean(kind):
        return True
    return 0 if pa.types.is_integer(kind) else 0.5 if pa.types.is_floating(kind) else ""
