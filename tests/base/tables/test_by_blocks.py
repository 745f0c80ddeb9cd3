"""Tables read block by block are those read at once: the same types, the same rows, or the same error."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.base.tables import csv_blocks as of_csv
from ogacli.base.tables import json_blocks as of_json
from ogacli.base.tables import read_file
from ogacli.data.originals.table import Table
from ogacli.errors import DataError

CELLS = (
    "1",
    "2.5",
    "007",
    "",
    "x",
    "ä",
    "1,5",
    "1.000,5",
    "true",
    "2024-01-02",
    "10:30",
    "nan",
    'a"b',
    "a\nb",
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(width=16) | st.sampled_from(["", "a", "ä"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("pq"), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_csv, "_BLOCK", 64)
    monkeypatch.setattr(of_json, "_ROWS", 3)


def original(path: Path, **keys: Any) -> Table:
    return Table(**{"path": str(path), "label": None, **keys})


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Equal, where NaN is equal to itself."""
    assert found.schema == expected.schema
    assert str(found.to_pylist()) == str(expected.to_pylist())


def at_once(file: Table) -> pa.Table | str:
    try:
        return file._whole()
    except DataError as error:
        return str(error)


def by_blocks(file: Table) -> pa.Table | str:
    try:
        blocks = file.batches()
        assert [len(one) for one in blocks] == [len(one) for one in blocks], "as often as they are asked for"
        return pa.Table.from_batches(blocks, blocks.schema)
    except DataError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_csv_file(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    delimiter = data.draw(st.sampled_from(",;\t"))
    columns = data.draw(
        st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3), min_size=2, max_size=4)
    )
    rows = data.draw(st.integers(0, 20))
    names = ["a", "", "ü", "d"][: len(columns)]
    records = [names] + [[data.draw(st.sampled_from(cells)) for cells in columns] for _ in range(rows)]
    quoted = [
        ['"' + cell.replace('"', '""') + '"' if set(cell) & set('"\n;,') else cell for cell in one]
        for one in records
    ]
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes("".join(delimiter.join(one) + "\n" for one in quoted).encode(encoding))
    keys = {"label": "a", "delimiter": delimiter, "encoding": encoding}
    keys |= {"id": "d"} if len(columns) == 4 else {}
    expected, found = at_once(original(path, **keys)), by_blocks(original(path, **keys))
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
    else:
        assert_same(found, expected)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), max_size=12))
def test_any_json_lines(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected, found = at_once(original(path)), by_blocks(original(path))
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
    else:
        assert_same(found, expected)


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        ("1", "2.5", "double"),
        ("1", "x", "string"),
        ("", "2024-01-02", "date32[day]"),
        ("1,5", "2,5", "double"),
        ("true", "1", "bool"),
        ("2024-01-02", "2024-01-02 10:00:00", "timestamp[s]"),
    ],
)
def test_a_late_cell_decides_the_type(first: str, last: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + f"{first};y\n" * 50 + f"{last};y\n", encoding="utf-16")
    blocks = original(path).batches()
    assert str(blocks.schema.field("a").type) == kind
    assert_same(pa.Table.from_batches(blocks, blocks.schema), read_file(path).table)


def test_labels_are_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("k,a,b\n" + "1,1,x\n" * 50 + "01,null,y\n")
    found = list(original(path, label="k").batches())[-1].to_pylist()[-1]
    assert found == {"k": "01", "a": None, "b": "y"}


def test_what_is_no_table_is_told_as_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for content in ('{"a": 1}\n[2]\n', '{"a": 1}\n{"a": "x"}\n', '{"a": 1}\n\n{"a":\n', '{"a": "\xff"}\n'):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(DataError) as error:
            original(path).batches()
        assert str(error.value) == at_once(original(path))


def test_a_file_that_becomes_another_one_between_the_looks(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n')
    blocks = original(path).batches()
    path.write_text('{"a": "x"}\n')
    with pytest.raises(DataError, match="the values of 'a' are no column"):
        list(blocks)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    blocks = original(path).batches()
    path.write_text("a,b\nx,2\n")
    with pytest.raises(DataError, match="does not parse"):
        list(blocks)


def test_numbers_of_a_jsonl_file_that_no_double_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"a": {value}}}\n' for value in (0.5, 1, 1, 2**60 + 1)))
    with pytest.raises(DataError, match="the values of 'a'"):
        list(original(path).batches())


def test_keys_of_every_line_make_a_table_that_is_too_large(tmp_path: Path) -> None:
    """By blocks as at once, and neither makes the columns first."""
    path = tmp_path / "keys.jsonl"
    path.write_text("".join(f'{{"k{i}": 1}}\n' for i in range(12_000)))
    with pytest.raises(DataError, match=r"unpacks to more(.|\n)*limits: {unpacked: 1152000000}"):
        read_file(path)
    with pytest.raises(DataError, match=r"unpacks to more(.|\n)*limits: {unpacked: 1152000000}"):
        next(iter(original(path).batches().read()))
