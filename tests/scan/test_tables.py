"""Tables through all commands: the use of their columns is said and kept; true labels of every kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml

from command_line import oga
from ogacli.config import parse_config
from ogacli.config.commands import scan, verify
from ogacli.errors import DataError
from ogacli.run.compare import compare
from ogacli.run.directory import Run
from ogacli.run.reports import report

N = 60


def spreadsheet(folder: Path) -> None:
    """A table as a spreadsheet in Europe writes it, with a column that counts rows and one of words."""
    x = np.random.default_rng(0).normal(size=(N, 2)) * 100
    rows = [
        f"{i};{a:.2f};{b:.2f};n{i % 3};{'ja' if a + b > 0 else 'nein'}".replace(".", ",")
        for i, (a, b) in enumerate(x)
    ]
    (folder / "t.csv").write_bytes("\n".join(["index;höhe;b;name;label", *rows]).encode("latin-1"))


def test_every_command_says_which_columns_are_features(tmp_path: Path) -> None:
    spreadsheet(tmp_path)
    note = "note: read with a semicolon between columns, encoding cp1252 (such as 'höhe'), decimal commas"
    lines = ["2 features: höhe, b", "left out: index (counts the rows), name (text, such as 'n0')"]
    commands: list[tuple[Any, ...]] = [
        ("init", "t.csv"),
        ("train", "oga.yaml", "--set", "train.epochs=1"),
        ("doctor", "oga.yaml", "--set", "model.checkpoint=runs/table-checkpoints/epoch-001.safetensors"),
        ("scan", "oga.yaml", "--set", "model.checkpoint=runs/table-checkpoints/epoch-001.safetensors"),
    ]
    for command in commands:
        done = oga(*command, cwd=tmp_path)
        assert done.code == 0, done.err
        assert note in done.err.replace("\n", " "), command
        out = " ".join(done.out.split())
        assert all(line in out for line in lines), (command, done.out)
    run = Run.open(tmp_path / "runs" / "table")
    assert run.summary.columns is not None
    assert run.summary.columns.features == ("höhe", "b")
    for format in ("html", "md"):
        text = report(run, format)
        assert all(part in text for part in ("2 features", "counts the rows")), format


def test_documents_hold_the_columns(tmp_path: Path) -> None:
    spreadsheet(tmp_path)
    oga("init", "t.csv", cwd=tmp_path)
    done = oga("train", "oga.yaml", "--set", "train.epochs=1", "--json", "--quiet", cwd=tmp_path)
    assert done.err == ""
    columns = json.loads(done.out)["columns"]
    assert columns["features"] == ["höhe", "b"]
    assert columns["left_out"][0] == {"name": "index", "why": "counts the rows"}
    checkpoint = "model.checkpoint=runs/table-checkpoints/epoch-001.safetensors"
    plan = oga("scan", "oga.yaml", "--set", checkpoint, "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(plan.out)["columns"] == columns
    found = oga("scan", "oga.yaml", "--set", checkpoint, "--json", cwd=tmp_path)
    assert json.loads(found.out)["columns"] == columns


def test_init_says_what_must_be_decided(tmp_path: Path) -> None:
    rows = [f"2020-01-{1 + i % 28:02d},{i % 7}.5,{i % 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["day,f,label", *rows]))
    done = oga("init", "t.csv", cwd=tmp_path)
    assert done.code == 0
    assert "column 'day' holds dates" in done.out
    assert "dates: [day]" in done.out
    text = (tmp_path / "oga.yaml").read_text().replace("  label: label", "  label: label\n  dates: [day]")
    (tmp_path / "oga.yaml").write_text(text)
    assert oga("train", "oga.yaml", "--set", "train.epochs=1", cwd=tmp_path).code == 0, "as the hint says"


@pytest.mark.parametrize(
    ("keys", "loss", "classes"),
    [
        ({"label": "number", "truth": "true_number", "target": "regression"}, "mse", None),
        ({"label": "lists", "truth": "true_lists"}, "bce_with_logits", ["p", "q"]),
        ({"label": ["p", "q"], "truth": ["true_p", "true_q"]}, "bce_with_logits", ["p", "q"]),
    ],
)
def test_true_labels_of_every_kind_are_evaluated(
    keys: dict[str, Any], loss: str, classes: Any, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(N, 2))
    true = (x > 0).astype(int)
    given, wrong = true.copy(), [4, 11, 33]
    given[wrong, 0] = 1 - given[wrong, 0]
    number = x @ [1.0, 2.0]
    noisy = number.copy()
    noisy[wrong] += 5
    names = np.array(["p", "q"])
    table = {
        "f0": x[:, 0],
        "f1": x[:, 1],
        "number": noisy,
        "true_number": number,
        "lists": [names[row == 1].tolist() for row in given],
        "true_lists": [names[row == 1].tolist() for row in true],
        **{name: given[:, i] for i, name in enumerate(names)},
        **{f"true_{name}": true[:, i] for i, name in enumerate(names)},
    }
    pa.parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    sections = {
        "data": {"source": "table", "path": "t.parquet", "features": ["f0", "f1"]} | keys,
        "model": {"source": "logistic"},
        "loss": loss,
        "detector": ["l2", "loss"],
        "budget": 3,
        "train": {"epochs": 20, "batch_size": 8, "learning_rate": 0.1},
        "output": "run",
    }
    config = parse_config(yaml.safe_dump(sections), base=tmp_path)
    run = scan(config, folds=2)
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["l2"].wrong == 3
    assert run.summary.evaluation["l2"].auroc > 0.9  # type: ignore[operator]
    assert [row for row, one in enumerate(run.scores["wrong"].to_pylist()) if one] == wrong
    assert run.scores["truth"].type == run.scores["label"].type
    assert compare(run).columns[0].evaluation == run.summary.evaluation["l2"]
    assert "Compared with the truth" in report(run, "html")
    if classes is not None:
        assert [one.name for one in run.summary.classes] == classes


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "b,a,label",
            r"verify.test: the features differ .*\n  found: b, a\n  expected: a, b\n  next: .*`features`",
        ),
        ("a,c,label", r"verify.test: the features differ .*\n  found: c\n  expected: b"),
    ],
)
def test_a_test_split_has_the_features_of_the_training(header: str, message: str, tmp_path: Path) -> None:
    rows = "".join(f"{i % 7}.5,{i % 5}.25,{i % 2}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(f"a,b,label\n{rows}")
    (tmp_path / "test.csv").write_text(f"{header}\n{rows}")
    sections = {
        "data": {"source": "table", "path": "t.csv", "label": "label"},
        "model": {"source": "logistic"},
        "detector": "l2",
        "train": {"epochs": 1},
        "verify": {"seeds": 2, "test": {"source": "table", "path": "test.csv", "label": "label"}},
        "output": "run",
    }
    config = parse_config(yaml.safe_dump(sections), base=tmp_path)
    scan(config, folds=2)
    with pytest.raises(DataError, match=message):
        verify(config)
