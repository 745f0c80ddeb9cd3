"""Exported outputs are matched with samples and classes by name, and by number they must fit exactly."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError, DataError

N, NAMES = 200, ("cat", "dog", "eel")
RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 3, N)
PROBABILITIES = (0.9 * np.eye(3)[TRUE] + 0.1 / 3).astype(np.float32)
FEATURES = (np.eye(3)[TRUE] + 0.1 * RNG.normal(size=(N, 3))).astype(np.float32)


def config(folder, *, data=None, **model):
    rows = pa.table({"id": [f"s{i}" for i in range(N)], "a": np.arange(N) / 3, "y": [NAMES[i] for i in TRUE]})
    pa.csv.write_csv(rows, folder / "rows.csv")
    values = {
        "data": {"source": "table", "path": "rows.csv", "id": "id", "label": "y"} | (data or {}),
        "model": {"source": "precomputed", "held_out": True} | model,
        "output": "run",
    }
    return parse_config(json.dumps(values), base=folder)


@pytest.mark.parametrize("rows", [N - 1, N + 1, 2 * N])
def test_another_number_of_rows(tmp_path, rows):
    np.save(tmp_path / "p.npy", np.resize(PROBABILITIES, (rows, 3)))
    with pytest.raises(DataError, match=r"too few rows|another number of rows") as caught:
        scan(config(tmp_path, probabilities="p.npy"))
    assert f"found: {rows} rows" in str(caught.value)
    assert f"{N}" in str(caught.value)


def test_a_limit_takes_outputs_of_all_or_of_those_samples(tmp_path):
    limit = {"limit": N // 2}
    for rows in (N, N // 2):
        np.save(tmp_path / "p.npy", PROBABILITIES[:rows])
        run = scan(config(tmp_path, data=limit, probabilities="p.npy"), output=tmp_path / f"run{rows}")
        assert run.summary.diagnosis.fit == 1.0
    np.save(tmp_path / "p.npy", PROBABILITIES[: N - 10])
    with pytest.raises(DataError, match=r"200: one for each .* \(or 100, with its `limit`\)"):
        scan(config(tmp_path, data=limit, probabilities="p.npy"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_by_class_and_rows_by_id(tmp_path, suffix):
    order = RNG.permutation(N)
    ids = pa.array([f"s{i}" for i in order])
    table = pa.table(
        {"eel": PROBABILITIES[order, 2], "id": ids, "cat": PROBABILITIES[order, 0]}
        | {"dog": PROBABILITIES[order, 1]}
    )
    features = pa.table({"id": ids} | {f"f{i}": FEATURES[order, i] for i in range(3)})
    for name, content in (("p", table), ("h", features)):
        path = tmp_path / f"{name}.{suffix}"
        pa.csv.write_csv(content, path) if suffix == "csv" else pa.parquet.write_table(content, path)
    run = scan(config(tmp_path, probabilities=f"p.{suffix}", features=f"h.{suffix}"))
    assert run.summary.diagnosis.fit == 1.0
    assert run.summary.class_order == "model"
    assert run.summary.parameters == 12


def test_ids_and_classes_that_are_missing(tmp_path):
    ids = [f"s{i}" for i in range(N)]
    columns = {name: PROBABILITIES[:, i] for i, name in enumerate(NAMES)}
    cases = {
        "samples of the data have no row": {"id": [f"t{i}" for i in range(N)]} | columns,
        "an id occurs twice": {"id": [*ids[1:], ids[1]]} | columns,
        "a class has no column": {"id": ids, "cat": columns["cat"], "dog": columns["dog"]},
        "column 'note' does not hold numbers": {"id": ids, "note": ids} | columns,
        "another number of rows": {name: np.resize(values, N + 1) for name, values in columns.items()},
    }
    for message, content in cases.items():
        pa.parquet.write_table(pa.table(content), tmp_path / "p.parquet")
        with pytest.raises(DataError, match=message):
            scan(config(tmp_path, probabilities="p.parquet"))


def test_columns_without_names_keep_their_order_and_that_is_said(tmp_path):
    pa.parquet.write_table(pa.table({f"p{i}": PROBABILITIES[:, i] for i in range(3)}), tmp_path / "p.parquet")
    run = scan(config(tmp_path, probabilities="p.parquet"))
    assert run.summary.diagnosis.fit == 1.0
    assert run.summary.class_order == "sorted"


def test_folds_of_a_larger_dataset(tmp_path):
    halves = np.arange(2 * N).reshape(2, N)
    folds = []
    for i, held in enumerate(halves):
        np.save(tmp_path / f"{i}.npy", held)
        (tmp_path / "weights.safetensors").write_bytes(b"")
        folds.append({"checkpoint": "weights.safetensors", "samples": f"{i}.npy"})
    values = {"source": "logistic", "checkpoint": {"folds": folds}}
    text = json.dumps({"data": {"source": "table", "path": "rows.csv", "label": "y"}, "model": values})
    config(tmp_path, probabilities="p.npy")
    with pytest.raises(ConfigError, match="the fold is one of another dataset"):
        scan(parse_config(text, base=tmp_path), output=tmp_path / "run")
