"""`oga trim --format hf`: the rows that stay, as a dataset of the library ``datasets``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim import trim
from small_scans import make_place

datasets = pytest.importorskip("datasets")
N = 20


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def rows(label: Any) -> Any:
    names = ["dull", "fine"]
    labels = [i % 2 if label is not None else names[i % 2] for i in range(N)]
    feature = datasets.ClassLabel(names=names) if label == "class" else datasets.Value(label or "string")
    found = {"text": [f"text {i}" for i in range(N)], "mood": labels, "extra": list(range(N))}
    features = {"text": datasets.Value("string"), "mood": feature, "extra": datasets.Value("int64")}
    return datasets.Dataset.from_dict(found, features=datasets.Features(features))


def run_of(folder: Path, label: Any = "class") -> Run:
    datasets.disable_progress_bars()
    rows(label).save_to_disk(folder / "dataset")
    datasets.enable_progress_bars()
    probabilities = np.random.default_rng(0).dirichlet([1, 1], N).astype(np.float32)
    np.save(folder / "p.npy", probabilities)
    text = (
        "data: {source: huggingface, path: dataset, text: text, label: mood}\n"
        "model: {source: precomputed, probabilities: p.npy}\ndetector: l2\nbudget: 4"
    )
    return scan(parse_config(text, base=folder), output=folder / "run")


@pytest.mark.parametrize("label", ["class", "int64", None])
def test_the_kept_rows_are_a_dataset(tmp_path: Path, label: Any) -> None:
    run = run_of(tmp_path, label)
    trimmed = trim(run, tmp_path / "clean", format="hf")
    found = datasets.load_from_disk(str(tmp_path / "clean"))
    kept = run.scores.filter([not flag for flag in run.scores["flagged"].to_pylist()])
    assert found["extra"] == kept["position"].to_pylist()
    assert len(found) == trimmed.fates["kept"] == N - 4
    assert found.features == rows(label).features
    assert found[0] == rows(label)[kept["position"][0].as_py()]
    assert (tmp_path / "clean" / "manifest.csv").is_file()


@pytest.mark.parametrize("label", ["class", "int64", None])
def test_relabelled_rows_carry_their_new_label(tmp_path: Path, label: Any) -> None:
    run = run_of(tmp_path, label)
    old = run.scores["label"].to_pylist()[3]
    new = next(name for name in set(run.scores["label"].to_pylist()) if name != old)
    (tmp_path / "decisions.csv").write_text(f"id,action,label\n3,relabel,{new}\n")
    trim(run, tmp_path / "clean", format="hf", decisions=tmp_path / "decisions.csv")
    found = datasets.load_from_disk(str(tmp_path / "clean"))
    assert found.column_names == ["text", "mood", "extra", "mood_before"]
    assert found.features["mood_before"] == found.features["mood"] == rows(label).features["mood"]
    row = found["extra"].index(3)
    before = rows(label)["mood"][3]
    assert found["mood"][row] != before == found["mood_before"][row]
    others = [i for i in found["extra"] if i != 3]
    assert all(found["mood"][found["extra"].index(i)] == rows(label)["mood"][i] for i in others)


def test_only_what_oga_wrote_is_replaced(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    trim(run, tmp_path / "clean", format="hf")
    with pytest.raises(RunError, match="exists"):
        trim(run, tmp_path / "clean", format="hf")
    trim(run, tmp_path / "clean", format="hf", overwrite=True)
    with pytest.raises(RunError, match="the dataset itself lies there"):
        trim(run, tmp_path / "dataset", format="hf", overwrite=True)
    assert datasets.load_from_disk(str(tmp_path / "dataset")).num_rows == N


def test_another_kind_of_dataset(tmp_path: Path) -> None:
    run = scan(make_place(tmp_path).config(), output=tmp_path / "run")
    with pytest.raises(RunError, match="arrays cannot be written as hf"):
        trim(run, tmp_path / "clean", format="hf")
    assert not (tmp_path / "clean").exists()
