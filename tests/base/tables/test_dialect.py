"""How csv files are written is found out, given, or refused where there are two readings."""

import codecs
from pathlib import Path
from typing import Any

import pytest

from ogacli.base.tables import column_names, read_file
from ogacli.base.tables.dialect import Dialect
from ogacli.errors import DataError

WORDS = "name,y\ncafé,1\nGröße,2\nplain,3\n"


def read(path: Path, content: str | bytes, **given: Any) -> Any:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path, given=Dialect(**given))


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("sep=;\na;b\n1;2\n", ";"),
        ("a;b\r\n1;2\r\n", ";"),
    ],
)
def test_delimiters_are_found(content: str, delimiter: str, tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", content)
    assert found.table.to_pylist() == [{"a": 1, "b": 2}]
    assert found.dialect.delimiter == delimiter
    assert bool(found.notes) == (delimiter != ","), "what is unusual is said"
    assert column_names(tmp_path / "t.csv") == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        "text,label\na;b;c,1\nd;e;f,2\n",
        'text,label\n"one\ntwo; three",1\n"x;y|z",2\n',
        'text,label\n"a;b",1\n"c;d",2\n',
        "name,tags\nx,cat|dog\ny,cat|bee\n",
    ],
)
def test_delimiters_in_texts_are_none(content: str, tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", content).dialect.delimiter == ","


def test_one_column_has_no_delimiter(tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", "text\nhello; you\nworld|x\n")
    assert found.table.column("text").to_pylist() == ["hello; you", "world|x"]


def test_two_readings_are_refused_with_the_key(tmp_path: Path) -> None:
    content = "width, cm;height, cm;kind\n1,5;2,5;a\n3,5;4,5;b\n"
    with pytest.raises(
        DataError,
        match=r"by a comma or by a semicolon\n  found: .*\n  next: .*`delimiter: ','` or `delimiter: ';'`",
    ):
        read(tmp_path / "t.csv", content)
    found = read(tmp_path / "t.csv", content, delimiter=";")
    assert found.table.to_pylist()[0] == {"width, cm": 1.5, "height, cm": 2.5, "kind": "a"}
    assert found.dialect.decimal == ","


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings_are_found(encoding: str, tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", WORDS.encode(encoding))
    assert found.table.column("name").to_pylist() == ["café", "Größe", "plain"]
    assert bool(found.notes) == (encoding not in ("utf-8", "utf-8-sig"))
    if found.notes:
        assert "café" in found.notes[0], "a word shows whether the encoding is right"


@pytest.mark.parametrize(
    ("word", "encoding"),
    [("книга", "cp1251"), ("książka", "cp1250"), ("日本語", "shift_jis"), ("中文字", "gb18030")],
)
def test_other_encodings_are_refused_with_their_readings(word: str, encoding: str, tmp_path: Path) -> None:
    content = f"name,y\n{word},1\n".encode(encoding)
    with pytest.raises(DataError, match=rf"t.csv:2: the encoding cannot be told[\s\S]*{encoding} '{word}"):
        read(tmp_path / "t.csv", content)
    assert read(tmp_path / "t.csv", content, encoding=encoding).table.column("name").to_pylist() == [word]


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        (WORDS.encode() + b"\xe9,4\n", {}, r"t.csv:5: UTF-8 with bytes that are none"),
        (WORDS.encode("latin-1"), {"encoding": "utf-8"}, r"t.csv:2: not a text in the encoding utf-8"),
        (b"PK\3\4\0\0", {}, r"not a text file\n  found: a spreadsheet"),
        (b"a,a\n1,2\n", {}, r"several columns have the name 'a'"),
    ],
)
def test_what_is_no_text(content: bytes, given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "t.csv", content, **given)


def test_only_csv_has_a_delimiter(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a jsonl file has no delimiter\n  next: leave out `delimiter`"):
        read(tmp_path / "t.jsonl", b'{"a": 1}\n', delimiter=";")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_lines_in_unicode(encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path / "t.jsonl", '{"a": "é"}\n'.encode(encoding)).table.to_pylist() == [{"a": "é"}]


def test_decimal_commas(tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", "a;b;c\n1,5;2;x\n2,25;3;y\n")
    assert found.table.to_pylist() == [{"a": 1.5, "b": 2, "c": "x"}, {"a": 2.25, "b": 3, "c": "y"}]
    assert found.dialect.decimal == ","
    assert read(tmp_path / "t.csv", "a;b\n1.5;x\n").dialect.decimal == "."
    ambiguous = read(tmp_path / "t.csv", "a;b\n1,234;x\n5,678;y\n")
    assert ambiguous.dialect.decimal is None
    both = read(tmp_path / "t.csv", "a;b\n1,5;2.25\n")
    assert both.dialect.decimal is None


def test_columns_without_a_name_get_one(tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", ",a,\n0,1,\n1,2,\n")
    assert found.table.column_names == ["unnamed column 1", "a", "unnamed column 3"]


def test_labels_are_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("zero,flag,whole,day,real\n01,True,1,2020-01-02,1.0\n02,False,2,2021-01-02,2.0\n")
    found = read_file(path, labels=["zero", "flag", "whole", "day", "real"]).table
    assert found.to_pylist()[0] == {
        "zero": "01",
        "flag": "True",
        "whole": 1,
        "day": "2020-01-02",
        "real": 1.0,
    }
    assert read_file(path).table.column("zero").to_pylist() == [1, 2], "only labels"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ['{"a": 1}', "", '{"a": "n/a"}'],
            r"t.jsonl:3: the values of 'a' differ in type\n  found: text: 'n/a'\n  expected: a number, "
            r"as in .*t.jsonl:1: 1\n  next: write all values of 'a' as one type",
        ),
        (['{"a": 1, "b": [1]}', '{"b": true}'], r"t.jsonl:2: the values of 'b' .*\n  found: true or false"),
        ([f'{{"a": {2**70}}}'], r"the values of 'a' are no column"),
    ],
)  # fmt: skip
def test_mixed_types_name_line_and_column(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "t.jsonl", "\n".join(lines))


def test_nested_columns_become_several(tmp_path: Path) -> None:
    found = read(tmp_path / "t.jsonl", '{"m": {"x": 1, "y": {"z": 2}}}\n{"n": 3}\n')
    assert found.table.to_pylist() == [
        {"m.x": 1, "m.y.z": 2, "n": None},
        {"m.x": None, "m.y.z": None, "n": 3},
    ]


def test_a_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", codecs.BOM_UTF8 + b"a,b\n1,2\n").table.column_names == ["a", "b"]


def test_names_are_known_from_the_beginning_of_a_long_file(tmp_path: Path) -> None:
    rows = '1;"one\ntwo";é\n' * 200_000
    (tmp_path / "t.csv").write_bytes(f"a;b;c\n{rows}".encode("latin-1"))
    assert column_names(tmp_path / "t.csv") == ["a", "b", "c"]


def test_mixed_types_within_lists_name_the_line(tmp_path: Path) -> None:
    lines = ['{"e": [1, 2]}', '{"e": [3, 4]}', '{"e": [5, "x"]}', '{"e": [1]}']
    with pytest.raises(DataError, match=r"t.jsonl:3: the values of 'e' differ[\s\S]*\[5, 'x'\]"):
        read(tmp_path / "t.jsonl", "\n".join(lines))
