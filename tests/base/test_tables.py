import io
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogacli.base.tables import column_names, opened, read_table, write_table
from ogacli.errors import DataError

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
@given(
    names=st.lists(text, min_size=1, max_size=6),
    numbers=st.data(),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, format: str, names: list[str], numbers: st.DataObject
) -> None:
    n = len(names)
    values = numbers.draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=n, max_size=n))
    table = pa.table({"name": names, "count": list(range(n)), "value": values})
    path = tmp_path_factory.mktemp("tables") / f"t.{format}"
    with path.open("wb") as file:
        write_table(table, file, format)
    found = read_table(path, text=("name",))
    assert found.column("name").to_pylist() == names
    assert found.column("count").to_pylist() == list(range(n))
    assert found.column("value").to_pylist() == pytest.approx(values)
    assert column_names(path) == found.column_names


@pytest.mark.parametrize("text", ["\ufffd", "\u00a0 \ufffd", "caf\ufffd \ufffd \ufffd"])
def test_marks_of_lost_letters_are_letters(text: str, tmp_path: Path) -> None:
    """U+FFFD is UTF-8, and stands in texts that were damaged before."""
    (tmp_path / "t.csv").write_text(f"a,b\n1,{text}\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv", text=("b",))["b"].to_pylist() == [text]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_text_columns_are_text_in_every_format(suffix: str, tmp_path: Path) -> None:
    table = pa.table({"id": [7, 8], "n": [1, 2]})
    with (tmp_path / f"t.{suffix}").open("wb") as file:
        write_table(table, file, suffix)
    found = read_table(tmp_path / f"t.{suffix}", text=("id", "not there"))
    assert found.column("id").to_pylist() == ["7", "8"]
    assert found.column("n").to_pylist() == [1, 2]
    assert found.column_names == ["id", "n"]


def test_leading_zeros_and_odd_words_stay(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id\n007\nNA\ntrue\n"a,b"\n')
    assert read_table(tmp_path / "t.csv", text=("id",)).column("id").to_pylist() == [
        "007",
        "NA",
        "true",
        "a,b",
    ]


def test_keys_that_only_some_lines_have(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n\n{"b": "x", "a": 2}\n')
    assert read_table(tmp_path / "t.jsonl").to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_quoted_newlines_belong_to_the_value(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('a\tb\n"one\ntwo"\t2\n')
    assert read_table(tmp_path / "t.tsv").to_pylist() == [{"a": "one\ntwo", "b": 2}]


def test_through_fsspec(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe(f"memory://{tmp_path.name}/t.csv", b"a\n1\n")
    assert read_table(f"memory://{tmp_path.name}/t.csv").to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1\n", r"t.csv: does not parse\n  found: .*Expected 2 columns"),
        ("t.csv", b"", r"t.csv: does not parse\n  found: Empty CSV file"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', r"t.jsonl:2: not JSON\n  found: "),
        ("t.jsonl", b"[1]\n", r"t.jsonl:1: not a JSON object\n  found: list"),
        ("t.jsonl", b'{"a": 1}\n{"a": "x"}\n', r"t.jsonl:2: the values of 'a' differ in type\n  found: text"),
        ("t.jsonl", b'{"a": "\xff"}\n', r"t.jsonl:1: not JSON"),
        ("t.parquet", b"no parquet", r"t.parquet: does not parse\n  found: "),
        ("t.xlsx", b"", r"t.xlsx: not a table\n  found: suffix '.xlsx'\n  expected: one of .csv, .tsv"),
    ],
)
def test_files_that_do_not_parse(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_columns_are_told_by_the_beginning(name: str, tmp_path: Path) -> None:
    comma = "," if name == "t.csv" else "\t"
    rows = f"1{comma}2\n" * 500_000
    (tmp_path / name).write_text(f"a{comma}b\n{rows}only one\n")
    assert column_names(tmp_path / name) == ["a", "b"]
    with pytest.raises(DataError, match="does not parse"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.xlsx", "t.jsonl"])
def test_columns_of_what_is_no_table(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"" if name == "t.csv" else b"no table")
    with pytest.raises(DataError, match=r"t\.\w+(:1)?: (not a table|not JSON|does not parse)"):
        column_names(tmp_path / name)


def test_files_that_do_not_open(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv: no such file\n  next: check the path"):
        read_table(tmp_path / "none.csv")
    with (
        pytest.raises(DataError, match=r"cannot be opened\n  found: Protocol not known: gopher"),
        opened("gopher://x"),
    ):
        pass


def test_jsonl_is_utf8_without_escapes() -> None:
    buffer = io.BytesIO()
    rows: list[dict[str, Any]] = [{"a": "größe", "b": None}]
    write_table(pa.Table.from_pylist(rows), buffer, "jsonl")
    assert buffer.getvalue().decode() == '{"a": "größe", "b": null}\n'
    assert json.loads(buffer.getvalue()) == rows[0]


def test_formats_it_does_not_know_are_a_bug() -> None:
    with pytest.raises(ValueError, match="xml"):
        write_table(pa.table({"a": [1]}), io.BytesIO(), "xml")
