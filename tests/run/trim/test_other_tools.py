"""What is handed on to other tools, loaded by them where they are installed."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import wrong_cells
from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim import trim
from ogacli.run.trim._findings import Words
from small_tags import tagged_rows
from synthetic_runs import Recipe

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


def test_texts_are_no_images(texts: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="are no image files"):
        trim(texts, tmp_path / "fiftyone", format="fiftyone")


# --- labels that are not one class --------------------------------------------------------------------------


def classes_of(row: np.ndarray) -> list[str]:
    return [name for name, on in zip(wrong_cells.NAMES, row, strict=True) if on]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, np.ndarray, np.ndarray]:
    """Pictures with several classes each, of which the first ones lack one or have a wrong one."""
    folder = tmp_path_factory.mktemp("several")
    given, truth = wrong_cells.sets(folder)
    rows = [{"key": f"k{i}.png", "kinds": classes_of(row)} for i, row in enumerate(given)]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "photos").mkdir()
    for i in range(wrong_cells.N):
        Image.new("RGB", (2, 2), (i % 256, i // 256, 0)).save(folder / "photos" / f"k{i}.png")
    data = {"source": "table", "path": "d.jsonl", "root": "photos", "image": "key", "label": "kinds"}
    return wrong_cells.scanned(folder, data, {"probabilities": "p.npy"}, "bce_with_logits"), given, truth


@pytest.fixture(scope="module", params=[1, 2])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, int]:
    """Rows with one number, or two."""
    folder, targets = tmp_path_factory.mktemp("numbers"), request.param
    given, _ = wrong_cells.numbers(folder, targets)
    columns = ["price", "area"][:targets]
    rows = [
        {"key": f"k{i}", "size": i} | dict(zip(columns, row.tolist(), strict=True))
        for i, row in enumerate(given)
    ]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = wrong_cells.REGRESSION | {"path": "d.jsonl", "label": columns if targets > 1 else "price"}
    return wrong_cells.scanned(folder, data, {"logits": "f.npy"}, "mse"), targets


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Any], list[Any]]:
    return tagged_rows(tmp_path_factory.mktemp("tagged"))


def suggestions(run: Run) -> dict[str, Any]:
    return {row["id"]: row["suggested_label"] for row in run.scores.to_pylist() if row["flagged"]}


def tasks_of(run: Run, file: Path, control: str) -> list[Any]:
    """The tasks, as Label Studio takes them for a control."""
    tasks: list[Any] = json.loads(trim(run, file, format="label_studio").path.read_text())
    assert {one["data"]["sample_id"] for one in tasks} == {*suggestions(run)}
    if importlib.util.find_spec("label_studio_sdk"):
        from label_studio_sdk.label_interface import LabelInterface

        interface = LabelInterface(f"<View>{control}</View>")
        for task in tasks:
            for prediction in task.get("predictions", ()):
                assert interface.validate_prediction(prediction, return_errors=True) == []
    return tasks


def records_of(run: Run, file: Path) -> list[Any]:
    """The records, as Argilla reads them."""
    path = trim(run, file, format="argilla").path
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {one["id"] for one in records} == {*suggestions(run)}
    if importlib.util.find_spec("argilla"):
        from argilla import Record

        for one in records:
            assert Record.from_dict(one).suggestions["label"].value == one["suggestions"]["label"]["value"]
    return records


def test_several_classes(several: tuple[Run, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    run, given, _ = several
    choices = "".join(f'<Choice value="{name}"/>' for name in wrong_cells.NAMES)
    control = f'<Choices name="label" toName="key" choice="multiple">{choices}</Choices>'
    for task in tasks_of(run, tmp_path / "t.json", f'<Image name="key" value="$key"/>{control}'):
        (result,) = task["predictions"][0]["result"]
        assert result["type"] == "choices"
        assert result["value"]["choices"] == suggestions(run)[task["data"]["sample_id"]]
    for record in records_of(run, tmp_path / "r.jsonl"):
        assert record["suggestions"]["label"]["value"] == suggestions(run)[record["id"]]
    folder = trim(run, tmp_path / "fiftyone", format="fiftyone").path
    labels, data = (json.loads((folder / name).read_text()) for name in ("labels.json", "data.json"))
    assert len(labels["labels"]) == wrong_cells.N
    for i, row in enumerate(given):
        found = labels["labels"][f"k{i}.png"]
        assert [one["label"] for one in found] == [
            name for name, on in zip(wrong_cells.NAMES, row, strict=True) if on
        ]
        assert Path(data[f"k{i}.png"]).name == f"k{i}.png"


def test_numbers(measured: tuple[Run, int], tmp_path: Path) -> None:
    run, targets = measured
    names = ["label"] if targets == 1 else ["price", "area"]
    control = '<Text name="key" value="$key"/>' + "".join(
        f'<Number name="{name}" toName="key"/>' for name in names
    )
    for task in tasks_of(run, tmp_path / "t.json", control):
        result = task["predictions"][0]["result"]
        assert [one["from_name"] for one in result] == names
        values = np.ravel(suggestions(run)[task["data"]["sample_id"]])
        assert [one["value"]["number"] for one in result] == pytest.approx(values)
    for record in records_of(run, tmp_path / "r.jsonl"):
        value = record["suggestions"]["label"]["value"]
        assert list(map(float, value.split("|"))) == pytest.approx(np.ravel(suggestions(run)[record["id"]]))
    with pytest.raises(RunError, match=r"found: numbers\s+expected: one class a sample or several"):
        trim(run, tmp_path / "fiftyone", format="fiftyone")


def test_tags_of_words(tagged: tuple[Run, list[Any], list[Any]], tmp_path: Path) -> None:
    """Each tagged word has a place in the text of all words."""
    run, rows, right = tagged
    control = (
        '<Text name="text" value="$text"/><Labels name="label" toName="text"><Label value="NUM"/></Labels>'
    )
    expected = {
        str(i): [
            (word, "NUM")
            for word, tag in zip(right[i]["words"], right[i]["tags"], strict=True)
            if tag == "NUM"
        ]
        for i in (3, 17, 42)
    }
    for task in tasks_of(run, tmp_path / "t.json", control):
        places = [one["value"] for one in task["predictions"][0]["result"]]
        assert [(one["text"], *one["labels"]) for one in places] == expected[task["data"]["sample_id"]]
        assert [task["data"]["text"][one["start"] : one["end"]] for one in places] == [
            one["text"] for one in places
        ]
    for record in records_of(run, tmp_path / "r.jsonl"):
        text = record["fields"]["text"]
        assert text == " ".join(rows[int(record["id"])]["words"])
        found = record["suggestions"]["label"]["value"]
        assert [(text[one["start"] : one["end"]], one["label"]) for one in found] == expected[record["id"]]
    frame = pd.read_parquet(trim(run, tmp_path / "c.parquet", format="cleanlab").path)
    assert [list(one) for one in frame["given_class"]] == [row["tags"] for row in rows]
    assert [list(one) for one in frame["predicted_class"]] == [row["tags"] for row in right]
    assert [["NUM", "O"][one] for one in frame["given_label"][3]] == rows[3]["tags"], (
        "in the order of the words"
    )
    with pytest.raises(RunError, match="found: a tag for each word"):
        trim(run, tmp_path / "fiftyone", format="fiftyone")


def test_entities_have_a_place_each() -> None:
    content = {"w": ["Ada", "Lovelace", "met", "", "Babbage"]}
    words = object.__new__(Words)
    words.column = "w"
    found = words.parts(content, ["B-PER", "I-PER", "O", "O", "B-PER"])
    text = words.text(content)
    assert [(text[start:end], kind) for start, end, kind in found] == [
        ("Ada Lovelace", "PER"),
        ("Babbage", "PER"),
    ]


def test_masks_and_boxes_are_refused_with_another_way(tmp_path: Path) -> None:
    for loss, hint in (("boxes", "--format coco"), ("pixel_cross_entropy", "as they are")):
        path = Recipe(n=8).write(tmp_path / loss).path
        config = yaml.safe_load((path / "config.yaml").read_text())
        (path / "config.yaml").write_text(
            yaml.safe_dump(config | {"loss": {"name": loss}, "data": {"source": "digits"}})
        )
        run = Run.open(path)
        for name in ("fiftyone", "label_studio", "argilla", "cleanlab"):
            with pytest.raises(RunError, match=f"labels of this kind[\\s\\S]*{hint}"):
                trim(run, tmp_path / "out", format=name)
