"""Cells that a spreadsheet would run."""

import pyarrow as pa
import pytest

from ogacli.base.tables.spreadsheet import spreadsheet_safe
from ogacli.run.trim import trim
from synthetic_runs import Recipe


@pytest.mark.parametrize(
    "cell",
    ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1", " =1", "\uff1d1+1", "\n@x", "-"],
)
def test_a_formula_becomes_a_text(cell):
    table = pa.table({"id": [cell, "cat", None], cell: [1, 2, 3]})
    found = spreadsheet_safe(table)
    assert found.column_names == ["id", f"'{cell}"]
    assert found["id"].to_pylist() == [f"'{cell}", "cat", None]


@pytest.mark.parametrize("cell", ["-5", "+3.25", "-1e-5", "a=b", "1-2", "", "'=1", "é"])
def test_numbers_and_other_texts_stay(cell):
    assert spreadsheet_safe(pa.table({"id": [cell]}))["id"].to_pylist() == [cell]


def test_other_types_stay_and_dictionaries_are_looked_into():
    table = pa.table(
        {
            "n": [-1.5],
            "label": pa.array(["=1"]).dictionary_encode(),
            "long": pa.array(["=1"], pa.large_string()),
        }
    )
    assert spreadsheet_safe(table).to_pylist() == [{"n": -1.5, "label": "'=1", "long": "'=1"}]


def test_an_empty_table():
    assert spreadsheet_safe(pa.table({"id": pa.array([], pa.string())})).num_rows == 0


def test_a_manifest(tmp_path):
    run = Recipe(n=4, ids=["=1+1", "b", "c", "d"]).write(tmp_path / "run")
    for safe in (False, True):
        trim(run, manifest=tmp_path / f"{safe}.csv", spreadsheet_safe=safe)
    assert '"=1+1"' in (tmp_path / "False.csv").read_text().replace("\n=1+1,", '\n"=1+1",')
    assert "'=1+1" in (tmp_path / "True.csv").read_text()
    assert "'=1+1" not in (tmp_path / "False.csv").read_text()
