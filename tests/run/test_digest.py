"""The digest of rows and summary in ``scores.parquet``."""

import numpy as np
import pyarrow as pa
import pytest

from ogacli.run.digest import RowsDigest

TABLE = pa.table(
    {
        "id": ["a", "b", "ç", ""],
        "score": pa.array([0.5, None, 2.0, -1.0]),
        "rank": pa.array([1, None, 3, 4]),
        "flagged": [True, False, False, True],
        "label": pa.array([["x"], [], None, ["y", "z"]]),
        "targets": pa.array([[0.5], [1.0, 2.0], [], None]),
        "nothing": pa.nulls(4),
    }
)


def digest(*tables):
    found = RowsDigest(tables[0].schema)
    for table in tables:
        found.add(table)
    return found.hexdigest()


def test_it_does_not_depend_on_how_the_rows_are_divided():
    whole = digest(TABLE)
    assert digest(*(TABLE.slice(i, 1) for i in range(4))) == whole
    assert digest(TABLE.slice(0, 3), TABLE.slice(3)) == whole
    encoded = TABLE.set_column(0, "id", TABLE["id"].dictionary_encode())
    assert digest(encoded) == whole
    hidden = pa.Array.from_buffers(
        pa.float64(), 4, [TABLE["score"].chunk(0).buffers()[0], pa.py_buffer(np.array([0.5, 7, 2, -1.0]))]
    )
    assert digest(TABLE.set_column(1, "score", hidden)) == whole, "what lies behind a null does not count"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id", ["a", "bç", "", ""]),
        ("score", [0.5, 0.0, 2.0, -1.0]),
        ("rank", [1, None, 4, 3]),
        ("flagged", [False, False, False, True]),
        ("label", [["x"], None, [], ["y", "z"]]),
        ("label", [["x"], ["y"], None, ["z"]]),
        ("targets", [[0.5, 1.0], [2.0], [], None]),
    ],
)
def test_any_change_shows(column, values):
    at = TABLE.column_names.index(column)
    changed = TABLE.set_column(at, column, pa.array(values, TABLE[column].type))
    assert digest(changed) != digest(TABLE)


def test_columns_and_order_count():
    assert digest(TABLE.rename_columns(["id", "score_2", *TABLE.column_names[2:]])) != digest(TABLE)
    assert digest(TABLE.take([1, 0, 2, 3])) != digest(TABLE)
    assert digest(TABLE.drop_columns("rank")) != digest(TABLE)
