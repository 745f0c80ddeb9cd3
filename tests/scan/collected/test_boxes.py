"""A scan of pictures with boxes, from the files to the run directory."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError
from ogacli.models.checkpoints import save_weights
from small_detectors import faster_rcnn, write_coco

N = 24


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    write_coco(folder, N)
    torch.manual_seed(0)
    for epoch in (1, 2):
        save_weights(faster_rcnn(), folder / f"epoch-{epoch}.safetensors")
    tests = str(Path(__file__).parents[2])
    config = {
        "data": {"source": "coco", "annotations": "boxes.json", "root": "pictures", "truth": "truth.json"},
        "model": {"source": "detection", "factory": "small_detectors:faster_rcnn", "folder": tests},
        "budget": "auto",
        "output": "run",
    }
    config["model"]["checkpoint"] = "epoch-1.safetensors"
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


def scanned(place, *overrides):
    return scan(load_config(place / "config.yaml", ["data.workers=0", *overrides]), overwrite=True)


@pytest.fixture(scope="module")
def run(place):
    return scanned(place)


def test_the_deciding_detector_judges_boxes(run):
    assert run.summary.detectors == ("latent_boxes", "l2", "isolation_forest")
    assert run.summary.layers[0] == "roi_heads.box_predictor.cls_score.weight"
    assert run.summary.quarantined == 0
    assert run.summary.estimate is not None
    assert [one.name for one in run.summary.cells] == ["0", "1", "2"]
    assert run.summary.evaluation is not None


def test_boxes_are_written(run):
    table = pq.read_table(run.path / "issues.parquet")
    columns = {"cell", "given", "suggested", "box", "suggested_box", "probability", "reason"}
    assert columns <= set(table.column_names)
    rows = table.to_pylist()
    assert rows
    for row in rows:
        assert (row["given"] is None) == (row["cell"] == row["reason"] == "missing box")
        assert len(row["box"]) == 4
        assert (row["suggested"] is None) == (row["suggested_box"] is None)
        assert 0 <= row["probability"] <= 1
    probabilities = [row["probability"] for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)


def test_labels_are_lists_of_classes(run):
    column = run.scores["label"].to_pylist()
    assert column[-1] == []
    assert all(set(classes) <= {"0", "1", "2"} for classes in column)


def test_boxes_are_compared_with_the_truth(run):
    """Every eighth picture lacks a box; an untrained network suggests boxes anywhere."""
    cells = run.summary.cell_evaluation
    assert cells.wrong == N // 8
    assert cells.precision_at_budget < 0.05


def test_a_picture_counts_once_in_each_of_its_classes(run):
    assert any(len(set(row)) < len(row) for row in run.scores["label"].to_pylist())
    assert run.counts.doubts == ()


def test_scores_do_not_depend_on_the_batch_size(run, place):
    other = scanned(place, "gradients.batch_size=5", f"output={place / 'other'}")
    for column in ("score", "score_l2", "score_isolation_forest"):
        mine, others = (one.scores[column].to_pylist() for one in (run, other))
        assert mine == pytest.approx(others, rel=1e-5, abs=1e-9)


def test_several_checkpoints_and_all_layers(place):
    found = scanned(
        place,
        f"model.checkpoint=[{place / 'epoch-1.safetensors'}, {place / 'epoch-2.safetensors'}]",
        "gradients.layers=all",
        "detector=[l2, l1, latent_boxes]",
        "budget=0.1",
        f"output={place / 'both'}",
    )
    assert found.summary.scored == N
    assert len(pq.read_table(found.path / "issues.parquet")) > 0


def test_what_does_not_fit_is_told(place):
    with pytest.raises(ConfigError, match="this model takes pictures with boxes"):
        scanned(place, "data={source: digits}")


def test_equal_pictures_with_other_boxes_are_told(place, tmp_path):
    document = json.loads((place / "boxes.json").read_text())
    first, boxes = document["images"][2], document["annotations"]
    own = [box for box in boxes if box["image_id"] == first["id"]]
    for i, (name, some) in enumerate([("same.png", own[::-1]), ("fewer.png", own[:-1])]):
        shutil.copy(place / "pictures" / first["file_name"], place / "pictures" / name)
        document["images"].append(first | {"id": 100 + i, "file_name": name})
        for box in some:
            boxes.append(box | {"image_id": 100 + i, "id": len(boxes)})
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    data = {"source": "coco", "annotations": str(tmp_path / "boxes.json"), "root": str(place / "pictures")}
    found = scanned(place, f"data={json.dumps(data)}", f"output={tmp_path / 'run'}")
    same = {row["id"]: row["duplicate_of"] for row in found.scores.to_pylist() if row["duplicate_of"]}
    assert same == {first["file_name"]: "fewer.png", "same.png": "fewer.png", "fewer.png": first["file_name"]}


def test_only_pictures_with_changed_boxes_are_scored_again(place, tmp_path):
    document = json.loads((place / "boxes.json").read_text())
    first = scanned(place, f"output={tmp_path / 'first'}")
    document["annotations"][5]["bbox"][0] += 2
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    config = load_config(
        place / "config.yaml",
        ["data.workers=0", f"data.annotations={tmp_path / 'boxes.json'}", f"output={tmp_path / 'since'}"],
    )
    assert scan(config, since=first).provenance["since"] == {"copied": N - 1, "new_or_changed": 1}
