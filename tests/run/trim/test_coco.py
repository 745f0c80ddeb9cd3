"""Pictures with boxes that are written back in the form of COCO."""

import json

import numpy as np
import pytest
import torch
import yaml

from ogacli.data.sources.coco import Coco
from ogacli.errors import ConfigError, DataError
from ogacli.run.reports.review import review
from ogacli.run.trim import trim
from small_detectors import faster_rcnn, write_coco


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one picture in three flagged."""
    from pathlib import Path

    from ogacli.config import load_config
    from ogacli.config.commands import scan
    from ogacli.models.checkpoints import save_weights

    folder = tmp_path_factory.mktemp("trim")
    write_coco(folder, 9)
    torch.manual_seed(0)
    save_weights(faster_rcnn(), folder / "weights.safetensors")
    config = {
        "data": {"source": "coco", "annotations": "boxes.json", "root": "pictures"},
        "model": {
            "source": "detection",
            "factory": "small_detectors:faster_rcnn",
            "folder": str(Path(__file__).parents[2]),
            "checkpoint": "weights.safetensors",
        },
        "detector": ["latent_boxes", "l2"],
        "budget": 3,
        "protect": "off",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return scan(load_config(folder / "config.yaml", ["data.workers=0"]), output=folder / "run")


def test_the_pictures_that_stay_keep_all_they_have(run, tmp_path):
    folder = run.path.parent
    found = trim(run, tmp_path / "clean.json")
    assert found.format == "coco"
    before, after = (
        json.loads(path.read_text()) for path in (folder / "boxes.json", tmp_path / "clean.json")
    )
    flagged = {row["id"] for row in run.scores.to_pylist() if row["flagged"]}
    assert len(flagged) == 3
    assert after["images"] == [image for image in before["images"] if image["file_name"] not in flagged]
    ids = {image["id"] for image in after["images"]}
    assert after["annotations"] == [box for box in before["annotations"] if box["image_id"] in ids]
    assert after["categories"] == before["categories"]
    samples = Coco(annotations=str(tmp_path / "clean.json"), root=str(folder / "pictures")).open()
    assert len(samples) == 6


def test_boxes_are_not_relabelled(run, tmp_path):
    """Neither by the suggestions nor by a person, to whom the page offers no other classes."""
    with pytest.raises(
        ConfigError, match=r"boxes are not relabelled[\s\S]*--decisions[\s\S]*annotation tool"
    ):
        trim(run, tmp_path / "clean.json", relabel=True)
    with pytest.raises(ConfigError, match="boxes are not relabelled"):
        trim(run, None, relabel=True, manifest=tmp_path / "m.csv")
    assert review(run).data["kind"] is None
    flagged = [row["id"] for row in run.scores.to_pylist() if row["flagged"]]
    (tmp_path / "d.csv").write_text(f"id,action,label\n{flagged[0]},relabel,0\n")
    with pytest.raises(DataError, match="cannot be relabelled"):
        trim(run, tmp_path / "clean.json", decisions=tmp_path / "d.csv")
    assert not (tmp_path / "clean.json").exists()
    (tmp_path / "d.csv").write_text(f"id,action\n{flagged[0]},keep\n")
    trim(run, tmp_path / "clean.json", decisions=tmp_path / "d.csv")
    assert len(json.loads((tmp_path / "clean.json").read_text())["images"]) == 7


def test_the_first_pictures_are_shown_with_their_boxes(run):
    """Beside those that the network finds: the picture is about twice as wide as high."""
    import io

    from PIL import Image

    for row in run.previews.to_pylist():
        with Image.open(io.BytesIO(row["content"])) as picture:
            assert picture.size == (484, 240)
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_pictures_with_text_files_are_copied(run, tmp_path):
    """The same pictures as YOLO: each that stays keeps its text file."""
    import shutil

    from ogacli.config import load_config
    from ogacli.config.commands import scan

    folder = run.path.parent
    shutil.copytree(folder / "pictures", tmp_path / "images")
    (tmp_path / "labels").mkdir()
    for i in range(8):
        (tmp_path / "labels" / f"{i:04d}.txt").write_text(f"{i % 3} 0.5 0.5 0.4 0.4\n")
    other = scan(
        load_config(
            folder / "config.yaml",
            [f"data={{source: yolo, root: {tmp_path / 'images'}, classes: 3, workers: 0}}"],
        ),
        output=tmp_path / "run",
    )
    trim(other, tmp_path / "clean", format="yolo")
    flagged = {row["id"] for row in other.scores.to_pylist() if row["flagged"]}
    kept = {f"{i:04d}.png" for i in range(9)} - flagged
    assert {path.name for path in (tmp_path / "clean" / "images").iterdir()} == kept
    texts = {path.name for path in (tmp_path / "clean" / "labels").iterdir()}
    assert texts == {name.replace("png", "txt") for name in kept if name != "0008.png"}
