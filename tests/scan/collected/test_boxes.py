"""A scan of pictures with boxes, from the files to the run directory."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError

N = 24
"""Pictures in ``box_folder``."""


def scanned(box_folder, *overrides):
    return scan(load_config(box_folder / "config.yaml", ["data.workers=0", *overrides]), overwrite=True)


@pytest.fixture(scope="module")
def run(box_folder):
    return scanned(box_folder)


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


def test_scores_do_not_depend_on_the_batch_size(run, box_folder):
    other = scanned(box_folder, "gradients.batch_size=5", f"output={box_folder / 'other'}")
    for column in ("score", "score_l2", "score_isolation_forest"):
        mine, others = (one.scores[column].to_pylist() for one in (run, other))
        assert mine == pytest.approx(others, rel=1e-5, abs=1e-9)


def test_several_checkpoints_and_all_layers(box_folder):
    found = scanned(
        box_folder,
        f"model.checkpoint=[{box_folder / 'epoch-1.safetensors'}, {box_folder / 'epoch-2.safetensors'}]",
        "gradients.layers=all",
        "detector=[l2, l1, latent_boxes]",
        "budget=0.1",
        f"output={box_folder / 'both'}",
    )
    assert found.summary.scored == N
    assert len(pq.read_table(found.path / "issues.parquet")) > 0


def test_what_does_not_fit_is_told(box_folder):
    with pytest.raises(ConfigError, match="this model takes pictures with boxes"):
        scanned(box_folder, "data={source: digits}")


def test_equal_pictures_with_other_boxes_are_told(box_folder, tmp_path):
    document = json.loads((box_folder / "boxes.json").read_text())
    first, boxes = document["images"][2], document["annotations"]
    own = [box for box in boxes if box["image_id"] == first["id"]]
    for i, (name, some) in enumerate([("same.png", own[::-1]), ("fewer.png", own[:-1])]):
        shutil.copy(box_folder / "pictures" / first["file_name"], box_folder / "pictures" / name)
        document["images"].append(first | {"id": 100 + i, "file_name": name})
        for box in some:
            boxes.append(box | {"image_id": 100 + i, "id": len(boxes)})
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    data = {
        "source": "coco",
        "annotations": str(tmp_path / "boxes.json"),
        "root": str(box_folder / "pictures"),
    }
    found = scanned(box_folder, f"data={json.dumps(data)}", f"output={tmp_path / 'run'}")
    same = {row["id"]: row["duplicate_of"] for row in found.scores.to_pylist() if row["duplicate_of"]}
    assert same == {first["file_name"]: "fewer.png", "same.png": "fewer.png", "fewer.png": first["file_name"]}


def test_only_pictures_with_changed_boxes_are_scored_again(box_folder, tmp_path):
    document = json.loads((box_folder / "boxes.json").read_text())
    first = scanned(box_folder, f"output={tmp_path / 'first'}")
    document["annotations"][5]["bbox"][0] += 2
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    config = load_config(
        box_folder / "config.yaml",
        ["data.workers=0", f"data.annotations={tmp_path / 'boxes.json'}", f"output={tmp_path / 'since'}"],
    )
    assert scan(config, since=first).provenance["since"] == {"copied": N - 1, "new_or_changed": 1}
