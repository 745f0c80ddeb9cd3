"""Relabelled samples of several classes, and of numbers: wrong cells are replaced as the source writes."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError
from ogacli.run.issues import issues_of
from ogacli.run.trim import trim
from ogacli.run.trim.numbers import decimal_places
from wrong_cells import NAMES, REGRESSION, WRONG, N, numbers, scanned, sets, shown

# --- several classes ----------------------------------------------------------------------------------------


def test_sets_in_a_text_of_a_csv_file(tmp_path: Path) -> None:
    given, truth = sets(tmp_path)
    lines = ["key;kinds;size", *(f'k{i};{shown(row)};"{i}"' for i, row in enumerate(given))]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    data = {"source": "table", "path": "d.csv", "features": ["size"], "label": "kinds", "separator": ", "}
    run = scanned(tmp_path, data, {"probabilities": "p.npy"}, "bce_with_logits")
    trim(run, tmp_path / "clean.csv", relabel=True)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "clean.csv").read_text()), delimiter=";"))
    assert len(rows) == N
    for i, row in enumerate(rows):
        assert row["kinds"] == shown(truth[i]), i
        assert row["kinds_before"] == (shown(given[i]) if i < WRONG else "")
    again = pd.read_csv(tmp_path / "clean.csv", sep=";")
    assert list(again.columns) == ["key", "kinds", "size", "kinds_before"]


def test_only_the_cells_above_the_bound_are_replaced(tmp_path: Path) -> None:
    """A sample with a sure cell keeps its doubtful one."""
    given, truth = sets(tmp_path)
    p = np.load(tmp_path / "p.npy")
    given[0], truth[0] = (False, False, False), (True, False, False)
    p[0] = 0.999, 0.8, 0.001
    np.save(tmp_path / "p.npy", p)
    table = {"key": [f"k{i}" for i in range(N)], "kinds": [shown(row).split(", ") for row in given]}
    table["kinds"] = [[name for name in row if name] for row in table["kinds"]]
    pq.write_table(pa.table(table | {"size": np.arange(N)}), tmp_path / "d.parquet")
    data = {"source": "table", "path": "d.parquet", "features": ["size"], "label": "kinds"}
    run = scanned(tmp_path, data, {"probabilities": "p.npy"}, "bce_with_logits", relabel={"above": 0.9})
    trim(run, tmp_path / "clean.parquet", relabel=True)
    found = pq.read_table(tmp_path / "clean.parquet")
    sure = {(one["position"], one["cell"]) for part in issues_of(run, 0.9) for one in part.to_pylist()}
    kept = dict(zip(found["key"].to_pylist(), found["kinds"].to_pylist(), strict=True))
    flagged = run.scores["flagged"].to_numpy()
    for i, row in enumerate(given):
        changed = [name for j, name in enumerate(NAMES) if row[j] != ((i, name) in sure and flagged[i])]
        if f"k{i}" in kept:
            assert kept[f"k{i}"] == changed


def test_one_column_a_class(tmp_path: Path) -> None:
    given, truth = sets(tmp_path)
    frame = pd.DataFrame(given.astype(int), columns=list(NAMES))
    frame.insert(0, "key", [f"k{i}" for i in range(N)])
    frame.assign(size=1).to_csv(tmp_path / "d.csv", index=False)
    data = {"source": "table", "path": "d.csv", "features": ["size"], "label": list(NAMES)}
    run = scanned(tmp_path, data, {"probabilities": "p.npy"}, "bce_with_logits")
    trim(run, tmp_path / "clean.csv", relabel=True)
    found = pd.read_csv(tmp_path / "clean.csv")
    assert (found[list(NAMES)].to_numpy() == truth).all()
    assert found["ant_before"].count() == WRONG


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_sets_for_cleanlab(tmp_path: Path, suffix: str) -> None:
    given, truth = sets(tmp_path)
    np.savez(tmp_path / "d.npz", y=given.astype(np.float32))
    data = {"source": "arrays", "path": "d.npz", "y": "y", "classes": list(NAMES), "id": None}
    run = scanned(tmp_path, data, {"probabilities": "p.npy"}, "bce_with_logits")
    path = trim(run, tmp_path / f"issues.{suffix}", format="cleanlab").path
    found = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    lists = [json.loads(one) if suffix == "csv" else list(one) for one in found["given_label"]]
    assert lists == [list(np.nonzero(row)[0]) for row in given]
    new = [json.loads(one) if suffix == "csv" else list(one) for one in found["predicted_label"]]
    assert new[:WRONG] == [list(np.nonzero(row)[0]) for row in truth[:WRONG]]
    assert found["is_label_issue"].to_numpy().nonzero()[0].tolist() == list(range(WRONG))
    assert found["label_quality"][:WRONG].max() < 0.5
    library = pytest.importorskip("cleanlab.multilabel_classification")
    theirs = library.get_label_quality_scores(lists, np.load(tmp_path / "p.npy"))
    assert theirs[:WRONG].max() < 0.5, "lists as cleanlab takes them"


# --- numbers ------------------------------------------------------------------------------------------------


def test_a_decimal_comma_and_decimal_places_stay(tmp_path: Path) -> None:
    given, predictions = numbers(tmp_path)
    cells = [f"{x:.2f}".replace(".", ",") for x in given[:, 0]]
    lines = ["key;price;size", *(f'k{i};"{x}";{i}' for i, x in enumerate(cells))]
    (tmp_path / "d.csv").write_text("\r\n".join(lines) + "\r\n", newline="")
    data = REGRESSION | {"path": "d.csv", "label": "price"}
    run = scanned(tmp_path, data, {"logits": "f.npy"}, "mse")
    assert WRONG <= run.summary.cells[0].wrong["wrong target"] <= WRONG + 2
    trim(run, tmp_path / "clean.csv", relabel=True)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "clean.csv").read_text()), delimiter=";"))
    assert [row["price_before"] for row in rows[:WRONG]] == cells[:WRONG]
    assert [row["price"] for row in rows[WRONG:]] == cells[WRONG:]
    new = [f"{x:.2f}".replace(".", ",") for x in predictions[:WRONG, 0].tolist()]
    assert [row["price"] for row in rows[:WRONG]] == new


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    given, predictions = numbers(tmp_path)
    whole = given[:, 0].round().astype(int)
    rows = [{"key": f"k{i}", "size": i, "price": int(x)} for i, x in enumerate(whole)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = scanned(tmp_path, REGRESSION | {"path": "d.jsonl", "label": "price"}, {"logits": "f.npy"}, "mse")
    for name in ("clean.jsonl", "clean.parquet"):
        trim(run, tmp_path / name, relabel=True)
    first = json.loads((tmp_path / "clean.jsonl").read_text().splitlines()[0])
    assert first["price"] == round(float(predictions[0, 0]))
    assert isinstance(first["price"], int)
    assert first["price_before"] == whole[0]
    found = pq.read_table(tmp_path / "clean.parquet")
    assert found.schema.field("price").type == pa.int64()
    assert found["price"].to_pylist()[:WRONG] == predictions[:WRONG, 0].round().astype(int).tolist()


def test_several_targets(tmp_path: Path) -> None:
    """Only the one that is wrong is replaced."""
    given, predictions = numbers(tmp_path, 2)
    right = predictions.round(2)
    given[:WRONG, 1] = right[:WRONG, 1]
    frame = pd.DataFrame({"key": [f"k{i}" for i in range(N)], "a": given[:, 0], "b": given[:, 1], "size": 1})
    frame.to_csv(tmp_path / "d.csv", index=False)
    run = scanned(tmp_path, REGRESSION | {"path": "d.csv", "label": ["a", "b"]}, {"logits": "f.npy"}, "mse")
    assert [one.wrong for one in run.summary.cells] == [{"wrong target": WRONG}, {}]
    trim(run, tmp_path / "clean.csv", relabel=True)
    found = pd.read_csv(tmp_path / "clean.csv")
    np.testing.assert_allclose(found["a"][:WRONG], right[:WRONG, 0], atol=0.006)
    np.testing.assert_allclose(found["b"], given[:, 1])
    np.testing.assert_allclose(found["a_before"][:WRONG], given[:WRONG, 0])


def test_a_number_that_a_person_decided(tmp_path: Path) -> None:
    given, _ = numbers(tmp_path)
    np.savez(tmp_path / "d.npz", y=given[:, 0].astype(np.float32), key=np.arange(N))
    data = {"source": "arrays", "path": "d.npz", "y": "y", "target": "regression"}
    config = {
        "data": data,
        "model": {"source": "precomputed", "logits": "f.npy"},
        "loss": "mse",
        "budget": WRONG,
    }
    run = scan(parse_config(yaml.safe_dump(config), base=tmp_path), output=tmp_path / "run")
    decisions = {"schema_version": 1, "decisions": [{"id": "0", "action": "relabel", "label": 12.5}]}
    (tmp_path / "decisions.json").write_text(json.dumps(decisions))
    trim(run, tmp_path / "clean.npz", decisions=tmp_path / "decisions.json")
    found = np.load(tmp_path / "clean.npz")
    assert found["y"][0] == 12.5
    assert found["y_before"][0] == given[0, 0].astype(np.float32)
    assert len(found["y"]) == N - WRONG + 1


def test_numbers_for_cleanlab(tmp_path: Path) -> None:
    given, predictions = numbers(tmp_path)
    np.savez(tmp_path / "d.npz", y=given[:, 0].astype(np.float32))
    data = {"source": "arrays", "path": "d.npz", "y": "y", "target": "regression", "id": None}
    run = scanned(tmp_path, data, {"logits": "f.npy"}, "mse")
    found = pd.read_csv(trim(run, tmp_path / "issues.csv", format="cleanlab").path)
    assert list(found.columns) == ["id", "is_label_issue", "label_quality", "given_label", "predicted_label"]
    np.testing.assert_allclose(found["given_label"], given[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found["predicted_label"][:WRONG], predictions[:WRONG, 0], rtol=1e-5)
    library = pytest.importorskip("cleanlab.regression.learn")
    from sklearn.linear_model import LinearRegression

    learner = library.CleanLearning(LinearRegression())
    learner.fit(np.arange(N)[:, None], given[:, 0], label_issues=found)
    assert learner.get_label_issues()["is_label_issue"].sum() == WRONG


def test_labels_that_no_detector_judged_are_not_replaced(tmp_path: Path) -> None:
    given, _ = numbers(tmp_path)
    pd.DataFrame({"key": np.arange(N), "price": given[:, 0], "size": 1}).to_csv(
        tmp_path / "d.csv", index=False
    )
    data = REGRESSION | {"path": "d.csv", "label": "price"}
    run = scanned(tmp_path, data, {"logits": "f.npy"}, "mse", detector="l2")
    with pytest.raises(ConfigError, match="scan by a detector that judges each of them"):
        trim(run, tmp_path / "clean.csv", relabel=True)


@pytest.mark.parametrize(
    ("texts", "places"), [(["1", "-2"], 0), (["1,5", " 2,25 "], 2), (["1e-5"], None), ([".5", "+1."], 1)]
)
def test_decimal_places(texts: list[str], places: int | None) -> None:
    assert decimal_places(texts) == places
