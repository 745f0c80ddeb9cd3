"""Hostile values in place of hostile bytes: what parses still, with other values, types and columns.

In: the bytes of a JSON or YAML document, or of a parquet file. Out: such bytes again.
"""

import io
import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import yaml

SCALARS: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        10**6,
        1 << 31,
        1 << 63,
        (1 << 64) - 1,
        -(1 << 63),
        0.5,
        1e308,
        -0.0,
    ),
    *(float("nan"), float("inf"), "", " ", "x", "0.05", "auto", "off", "../../x", "/", "\u202e", "a" * 5_000),
    *("${HOME}", "{index}", "{0..9}", "a.csv", "://", "s3://b/k", "file:///etc/passwd", "\x00", "ä", "-rf"),
    *([], {}, [[]], [{}], [None], {"": ""}, {"name": "l2"}, {"source": "python"}, [1, 2], ["a", 1]),
]
NAMES = ("name", "source", "x", "data", "budget", "path", "label")


def changed(tree: Any, chance: random.Random) -> Any:
    """The same values with a few changes."""
    holder = [tree]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(holder))
        inside, key = chance.choice(places)
        match chance.randrange(6):
            case 0 if inside is not holder:
                del inside[key]
            case 1:
                other, name = chance.choice(places)
                inside[key] = json.loads(json.dumps(other[name], default=str))
            case 2 if isinstance(inside, dict):
                inside[chance.choice(("name", "source", "x", "data", "budget", "path", "label"))] = inside[
                    key
                ]
            case 3:
                inside[key] = [inside[key]] * chance.randrange(3)
            case 4:
                inside[key] = str(inside[key])
            case _:
                inside[key] = chance.choice(SCALARS)
    return holder[0]


def _places(inside: Any) -> Any:
    for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
        yield inside, key
        if isinstance(inside[key], dict | list):
            yield from _places(inside[key])


def changed_json(content: bytes, chance: random.Random) -> bytes:
    """A JSON document with other values."""
    return json.dumps(changed(json.loads(content), chance), default=str).encode()


def changed_yaml(content: bytes, chance: random.Random) -> bytes:
    """A YAML document with other values."""
    return yaml.safe_dump(changed(yaml.safe_load(content), chance), allow_unicode=True).encode(
        errors="surrogatepass"
    )


TYPES: list[pa.DataType] = [
    *(
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.bool_(),
        pa.int8(),
        pa.int64(),
        pa.uint64(),
        pa.float16(),
    ),
    *(pa.float32(), pa.float64(), pa.null(), pa.timestamp("ns", "UTC"), pa.date32(), pa.decimal128(38, 3)),
    *(
        pa.list_(pa.int64()),
        pa.list_(pa.string()),
        pa.struct([("a", pa.int64())]),
        pa.map_(pa.string(), pa.int8()),
    ),
    *(pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.int64()), pa.duration("s")),
]
VALUES: list[Any] = [
    None,
    0,
    1,
    -1,
    1 << 62,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\u202e",
    b"\xff",
    True,
]


def changed_table(content: bytes, chance: random.Random) -> bytes:
    """A parquet file with other columns."""
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    for _ in range(chance.choice((1, 1, 2))):
        if not table.num_columns:
            break
        at = chance.randrange(table.num_columns)
        name, column = table.column_names[at], table.column(at)
        match chance.randrange(7):
            case 0:
                table = table.remove_column(at)
            case 1:
                table = table.append_column(
                    chance.choice([name, "score", "id", "", "reason", "truth"]), column
                )
            case 2:
                table = table.slice(0, chance.choice((0, 1, max(0, table.num_rows - 1))))
            case 3:
                kind = chance.choice(TYPES)
                table = table.set_column(at, name, pa.nulls(table.num_rows, kind))
            case 4 if table.num_rows:
                rows = [chance.randrange(table.num_rows) for _ in range(table.num_rows)]
                table = table.set_column(at, name, column.take(pa.array(rows)))
            case 5:
                table = _with_value(table, at, chance)
            case _:
                other = table.column(chance.randrange(table.num_columns))
                table = table.set_column(at, name, other)
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def _with_value(table: pa.Table, at: int, chance: random.Random) -> pa.Table:
    """Another value in a column, of its type or of another one."""
    values = table.column(at).to_pylist()
    if not values:
        return table
    values[chance.randrange(len(values))] = chance.choice(VALUES)
    kinds = [table.column(at).type, chance.choice(TYPES)]
    for kind in kinds:
        try:
            return table.set_column(at, table.column_names[at], pa.array(values, kind))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    return table


Change = Callable[[bytes, random.Random], bytes]
