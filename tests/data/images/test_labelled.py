"""Masks, boxes and several annotators of objects in memory: the same as from files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import ogacli
from ogacli.data import Samples
from ogacli.data.sources.coco import Coco
from ogacli.errors import DataError
from small_detectors import faster_rcnn, write_coco
from small_masks import CLASSES, WRONG, open_masks, trained


def test_masks_are_scored_as_from_files(tmp_path: Path) -> None:
    files = open_masks(tmp_path)
    network, batch = trained(files), files.read(range(30))
    true = np.stack([np.asarray(Image.open(tmp_path / "true" / f"{i:02d}.png")) for i in range(30)])
    samples = Samples.of(batch.inputs, labels=batch.labels, classes=CLASSES, truth=true.astype(int))
    one, other = (
        ogacli.scan(some, network, loss="pixel_cross_entropy", budget="auto") for some in (files, samples)
    )
    np.testing.assert_allclose(
        *(found.table()["score"].to_pylist() for found in (one, other)), rtol=1e-5, atol=1e-9
    )
    assert one.summary.cell_evaluation == other.summary.cell_evaluation
    assert other.summary.flagged == WRONG
    assert samples.wrong is not None
    assert samples.wrong.tolist() == [i < WRONG for i in range(30)]


@pytest.mark.parametrize(
    ("labels", "truth", "message"),
    [
        (np.full((2, 4, 4), 3), None, "mask 0: labels out of range.*a pixel of class 3.*0 to 2.*-100"),
        (np.zeros((2, 4, 4)), None, "the labels are no class indices.*float64"),
        (np.zeros((2, 4, 4), int), np.zeros((2, 4, 5), int), "another shape than the masks"),
    ],
)
def test_masks_that_do_not_fit(labels: np.ndarray, truth: np.ndarray | None, message: str) -> None:
    with pytest.raises(DataError, match=f"(?s){message}"):
        Samples.of(np.zeros((2, 3, 4, 4), np.float32), labels=labels, classes=CLASSES, truth=truth)


def test_masks_without_class_names() -> None:
    with pytest.raises(DataError, match=r"masks need the names of their classes(.|\n)*classes="):
        Samples.of(np.zeros((2, 3, 4, 4), np.float32), labels=np.zeros((2, 4, 4), int))


class Pictures(Dataset):  # type: ignore[type-arg]
    """As torchvision's references for detection: a picture of floats, and a mapping."""

    def __init__(self, folder: Path, file: str) -> None:
        document = json.loads((folder / file).read_text())
        self.names = [folder / "pictures" / one["file_name"] for one in document["images"]]
        self.boxes = [
            [box for box in document["annotations"] if box["image_id"] == one["id"]]
            for one in document["images"]
        ]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        pixels = torch.from_numpy(np.asarray(Image.open(self.names[i])) / 255.0).permute(2, 0, 1).float()
        corners = [box["bbox"] for box in self.boxes[i]]
        boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in corners]).float().view(-1, 4)
        labels = torch.tensor([box["category_id"] - 9 for box in self.boxes[i]], dtype=torch.int64)
        return pixels, {"boxes": boxes, "labels": labels}


def test_boxes_are_scored_as_from_files(tmp_path: Path) -> None:
    write_coco(tmp_path, 8)
    dataset, true = (Pictures(tmp_path, f"{name}.json") for name in ("boxes", "truth"))
    truth = [true[i][1] for i in range(8)]
    samples = Samples.of(dataset, classes=["0", "1", "2"], truth=truth)
    files = Coco(
        annotations=str(tmp_path / "boxes.json"),
        root=str(tmp_path / "pictures"),
        truth=str(tmp_path / "truth.json"),
    ).open()
    torch.manual_seed(0)
    network = faster_rcnn().eval()
    one, other = (ogacli.scan(some, network, loss="boxes", budget="auto") for some in (files, samples))
    np.testing.assert_allclose(
        *(found.table()["score"].to_pylist() for found in (one, other)), rtol=1e-5, atol=1e-9
    )
    assert one.summary.cell_evaluation == other.summary.cell_evaluation
    assert samples.reader.preview(0).kind == "image"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"boxes": [[0, 0, 2, 2]], "labels": [0]}, "labels 1.*no class.*found: 0.*1 to 2.*background"),
        ({"boxes": [[0, 0, 2, 2]], "labels": [3]}, "labels 1.*no class.*found: 3"),
        ({"boxes": [[0, 0, 2, 2]], "labels": []}, "labels 1.*1 boxes, 0 labels"),
        ({"boxes": [[0, 0, 2]], "labels": [1]}, "labels 1.*not boxes"),
        ({"labels": [1]}, "labels 1.*not boxes.*boxes"),
    ],
)
def test_boxes_that_do_not_fit(label: dict[str, list], message: str) -> None:  # type: ignore[type-arg]
    good = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    with pytest.raises(DataError, match=f"(?s){message}"):
        Samples.of(np.zeros((2, 8, 8, 3), np.uint8), labels=[good, label], classes=2)


def test_a_box_outside_its_picture_is_quarantined() -> None:
    boxes = [[[9, 9, 12, 12]], [[0, 0, 2, float("nan")]], [[4, 4, 20, 20]]]
    labels = [{"boxes": one, "labels": [1]} for one in boxes]
    samples = Samples.of(np.zeros((3, 8, 8, 3), np.uint8), labels=labels)
    batch = samples.read(range(3))
    assert batch.rows.tolist() == [2]
    assert batch.inputs[0].boxes.tolist() == [[4, 4, 8, 8]]
    assert "lies outside" in batch.quarantined[0]
    assert "has no area" in batch.quarantined[1]


def test_several_annotators() -> None:
    votes = {
        "ann": ["cat", "dog", None, "cat"],
        "bob": ["cat", "dog", "dog", None],
        "eve": [None] * 3 + ["cat"],
    }
    samples = Samples.of(np.zeros((4, 2), np.float32), annotators=votes, truth=["cat", "dog", "cat", "cat"])
    assert samples.classes == ("cat", "dog")
    assert samples.labels.tolist() == [0, 1, 1, 0]
    assert samples.annotations is not None
    assert samples.annotations.names == ("ann", "bob", "eve")
    assert samples.annotations.counts.tolist() == [2, 2, 1, 2]


@pytest.mark.parametrize(
    ("annotators", "labels", "message"),
    [
        ({"ann": [0, 1]}, None, "not several annotators"),
        ({"ann": [0, 1], "bob": [0]}, None, "different numbers of samples"),
        ({"ann": [0, 1], "bob": [None, None]}, None, "annotator without labels.*bob"),
        ({"ann": [0, 1], "bob": [0, 1]}, [0, 1], "either `labels` or `annotators`"),
    ],
)
def test_annotators_that_do_not_fit(annotators: dict, labels: list | None, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=f"(?s){message}"):
        Samples.of(np.zeros((2, 2), np.float32), labels=labels, annotators=annotators)


def test_grey_pictures_with_boxes() -> None:
    labels = [{"boxes": [[1, 1, 6, 5]], "labels": [1]}] * 2
    pictures = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)
    batch = Samples.of(pictures, labels=labels, classes=["cat"]).read([0, 1])
    assert not batch.quarantined
    assert torch.equal(batch.inputs[1].picture, torch.from_numpy(pictures[1]).expand(3, 6, 8))
