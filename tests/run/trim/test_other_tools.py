"""What is handed on to other tools, loaded by them where they are installed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim import trim

N, FLAGGED = 30, 4
TRUTH = np.random.default_rng(0).integers(0, 2, N)
GIVEN = np.where(np.arange(N) < FLAGGED, 1 - TRUTH, TRUTH)
NAMES = ("bad", "good")


def scanned(folder: Path, data: dict[str, str], loss: str = "cross_entropy") -> Run:
    probabilities = np.full((N, 2), 0.1)
    probabilities[np.arange(N), TRUTH] = 0.9
    np.save(folder / "p.npy", probabilities.astype(np.float32))
    config = {
        "data": data,
        "model": {"source": "precomputed", "probabilities": "p.npy"},
        "detector": "loss",
        "loss": loss,
        "protect": "off",
        "budget": FLAGGED,
    }
    return scan(parse_config(yaml.safe_dump(config), base=folder), output=folder / "run")


@pytest.fixture
def texts(tmp_path: Path) -> Run:
    rows = [{"text": f"text {i}", "y": NAMES[label], "n": i} for i, label in enumerate(GIVEN)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return scanned(tmp_path, {"source": "text", "path": "d.jsonl", "text": "text", "label": "y"})


@pytest.fixture
def images(tmp_path: Path) -> Run:
    rows = sorted((NAMES[label], i) for i, label in enumerate(GIVEN))
    for name, i in rows:
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "photos" / name / f"{i:02d}.png")
    truth = TRUTH.copy()
    TRUTH[:] = [truth[i] for _, i in rows]  # the samples are ordered by class
    try:
        return scanned(tmp_path, {"source": "image_folder", "root": "photos"})
    finally:
        TRUTH[:] = truth


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_cleanlab(texts: Run, tmp_path: Path, suffix: str) -> None:
    path = trim(texts, tmp_path / f"issues.{suffix}", format="cleanlab").path
    found = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    assert found["is_label_issue"].tolist() == [i < FLAGGED for i in range(N)]
    assert found["given_label"].tolist() == GIVEN.tolist()
    assert found["predicted_label"].tolist() == TRUTH.tolist()
    assert found["given_class"].tolist() == [NAMES[i] for i in GIVEN]
    assert found["predicted_class"].tolist() == [NAMES[i] for i in TRUTH]
    assert found["label_quality"][:FLAGGED].max() < found["label_quality"][FLAGGED:].min(), "low is bad"
    classification = pytest.importorskip("cleanlab.classification")
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(N, 2))
    learner = classification.CleanLearning(LogisticRegression())
    learner.fit(x, GIVEN, label_issues=found)
    assert learner.get_label_issues()["is_label_issue"].sum() == FLAGGED


def test_a_decision_outranks_the_flag(texts: Run, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,action\n0,keep\n9,drop\n")
    path = trim(texts, tmp_path / "issues.csv", format="cleanlab", decisions=tmp_path / "d.csv").path
    found = pd.read_csv(path)["is_label_issue"]
    assert found.to_numpy().nonzero()[0].tolist() == [1, 2, 3, 9]


def test_label_studio(texts: Run, tmp_path: Path) -> None:
    path = trim(texts, tmp_path / "tasks.json", format="label_studio").path
    tasks = json.loads(path.read_text())
    assert sorted(task["data"]["sample_id"] for task in tasks) == ["0", "1", "2", "3"]
    assert [task["meta"]["rank"] for task in tasks] == [1, 2, 3, 4]
    for task in tasks:
        row = int(task["data"]["sample_id"])
        assert (task["data"]["text"], task["data"]["given_label"]) == (f"text {row}", NAMES[GIVEN[row]])
        (prediction,) = task["predictions"]
        assert prediction["score"] == pytest.approx(0.9)
        assert prediction["result"][0]["value"] == {"choices": [NAMES[TRUTH[row]]]}
    library = pytest.importorskip("label_studio_sdk.label_interface")
    control = '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    choices = "".join(f'<Choice value="{name}"/>' for name in NAMES)
    interface = library.LabelInterface(f"{control}{choices}</Choices></View>")
    for task in tasks:
        prediction = task.pop("predictions")[0]  # with predictions, `validate_task` calls itself wrongly
        assert interface.validate_task(task)
        assert interface.validate_prediction(prediction, return_errors=True) == []


def test_label_studio_with_images(images: Run, tmp_path: Path) -> None:
    tasks = json.loads(trim(images, tmp_path / "tasks.json", format="label_studio").path.read_text())
    assert len(tasks) == FLAGGED
    assert all(Path(task["data"]["image"]).is_file() for task in tasks)
    assert all(task["predictions"][0]["result"][0]["to_name"] == "image" for task in tasks)


def test_argilla(texts: Run, tmp_path: Path) -> None:
    path = trim(texts, tmp_path / "records.jsonl", format="argilla").path
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(one["id"] for one in records) == ["0", "1", "2", "3"]
    assert all(set(one["fields"]) == {"text", "y", "n"} for one in records)
    library = pytest.importorskip("argilla")
    for one in records:
        record = library.Record.from_dict(one)
        row = int(record.id)
        assert record.fields["text"] == f"text {row}"
        assert record.suggestions["label"].value == NAMES[TRUTH[row]]
        assert record.suggestions["label"].score == pytest.approx(0.9)
        assert record.metadata["given_label"] == NAMES[GIVEN[row]]


def test_fiftyone(images: Run, tmp_path: Path) -> None:
    folder = trim(images, tmp_path / "fiftyone", format="fiftyone").path
    labels, data = (json.loads((folder / name).read_text()) for name in ("labels.json", "data.json"))
    assert labels["classes"] == list(NAMES)
    assert set(labels["labels"]) == set(data)
    assert all(Path(path).is_file() for path in data.values())
    issues = {name for name, one in labels["labels"].items() if one["attributes"]["issue"]}
    assert len(issues) == FLAGGED
    assert all(one["label"] == name.split("/")[0] for name, one in labels["labels"].items())
    library = pytest.importorskip("fiftyone", reason="fiftyone starts a database")
    importer = library.utils.data.FiftyOneImageClassificationDatasetImporter(
        dataset_dir=str(folder), data_path="data.json"
    )
    importer.setup()
    assert len(importer) == N


def test_texts_are_no_images_and_numbers_no_classes(texts: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="are no image files"):
        trim(texts, tmp_path / "fiftyone", format="fiftyone")
    rows = "".join(f'{{"text": "text {i}", "y": {i / 8}}}\n' for i in range(N))
    (tmp_path / "n.jsonl").write_text(rows)
    (tmp_path / "m").mkdir()
    np.save(tmp_path / "m" / "l.npy", np.zeros((N, 1), np.float32))
    text = (
        "data: {source: text, path: ../n.jsonl, text: text, label: y, target: regression}\n"
        "model: {source: precomputed, logits: l.npy}\nloss: mse\ndetector: l2\nbudget: 3\n"
    )
    run = scan(parse_config(text, base=tmp_path / "m"), output=tmp_path / "m" / "run")
    for name in ("fiftyone", "label_studio", "argilla"):
        with pytest.raises(RunError, match="do not have one class each"):
            trim(run, tmp_path / "out", format=name)
