"""Pictures with boxes in the form of COCO."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ogacli.data.images.boxes import BoxCounts
from ogacli.data.sources.coco import Coco
from ogacli.errors import DataError

PICTURES = (("a.png", 40, 30), ("sub/b.jpg", 20, 20), ("c.png", 50, 50))
BOXES = ((1, 7, [4, 5, 10, 12]), (1, 3, [0, 0, 5, 5]), (2, 3, [1, 2, 30, 4]))
"""Picture, category, and left, top, width, height; the third picture has none, the last box goes beyond."""


@pytest.fixture
def place(tmp_path):
    for name, width, height in PICTURES:
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name)
    write(tmp_path)
    return tmp_path


def document(**changes):
    images = [
        {"id": i + 1, "file_name": name, "width": width, "height": height}
        for i, (name, width, height) in enumerate(PICTURES)
    ]
    boxes = [
        {"id": i, "image_id": picture, "category_id": category, "bbox": box}
        for i, (picture, category, box) in enumerate(BOXES)
    ]
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    return {"images": images, "annotations": boxes, "categories": categories} | changes


def write(folder, name="boxes.json", **changes):
    (folder / name).write_text(json.dumps(document(**changes)))


def opened(folder, **options):
    return Coco(annotations=str(folder / "boxes.json"), root=str(folder / "pictures"), **options).open()


def test_a_picture_is_a_sample(place):
    samples = opened(place)
    assert samples.ids.to_pylist() == ["a.png", "sub/b.jpg", "c.png"]
    assert samples.classes == ("cat", "dog"), "by ascending id"
    assert isinstance(samples.label_type, BoxCounts)
    assert samples.labels.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert samples.label_type.column(samples.labels, samples.classes).to_pylist() == [
        ["cat", "dog"],
        ["cat"],
        [],
    ]
    batch = samples.read(range(3))
    first, second, third = batch.inputs
    assert first.picture.shape == (3, 30, 40)
    assert first.boxes.tolist() == [[4, 5, 14, 17], [0, 0, 5, 5]]
    assert first.classes.tolist() == [1, 0]
    assert second.boxes.tolist() == [[1, 2, 20, 6]], "cut off at the edge"
    assert third.boxes.shape == (0, 4)
    assert not batch.quarantined
    assert samples.reader.preview(0).kind == "image"


def test_classes_may_be_ordered(place):
    assert opened(place, classes=("dog", "bird", "cat")).labels.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]
    by_id = opened(place, by_id=True)
    assert by_id.classes == ("unused 1", "unused 2", "cat", "unused 4", "unused 5", "unused 6", "dog")
    assert by_id.labels.nonzero().tolist() == [[0, 2], [0, 6], [1, 2]]


def test_boxes_that_fit_no_picture_quarantine_it(place):
    outside = {"id": 8, "image_id": 1, "category_id": 3, "bbox": [41, 5, 10, 12]}
    flat = {"id": 9, "image_id": 2, "category_id": 3, "bbox": [4, 5, 0, 12]}
    write(place, annotations=[*document()["annotations"], outside, flat])
    found = opened(place).read(range(3)).quarantined
    assert found[0] == "box 2 lies outside the picture (41, 5, 51, 17; 40 x 30 pixels)"
    assert found[1] == "box 1 has no area (4, 5, 4, 17)"
    assert set(found) == {0, 1}


def test_pictures_that_cannot_be_used_are_quarantined(place):
    (place / "pictures" / "a.png").unlink()
    (place / "pictures" / "c.png").write_text("no picture")
    images = document()["images"]
    images[1]["width"] = 19
    write(place, images=images)
    found = opened(place).read(range(3)).quarantined
    assert found == {
        0: "no such file",
        1: "the picture has 20 x 20 pixels, by its annotations 19 x 20",
        2: "not an image",
    }


def test_crowds_are_left_out(place):
    boxes = document()["annotations"]
    boxes[0]["iscrowd"] = 1
    boxes[0]["bbox"] = [4, 5, 10, 12]
    write(place, annotations=boxes)
    samples = opened(place)
    assert samples.labels.tolist() == [[1, 0], [1, 0], [0, 0]]
    assert samples.reader.notes == ("annotations of several objects at once (iscrowd) were left out: 1",)


def test_the_truth_may_be_in_another_order(place):
    boxes = document()["annotations"]
    boxes[2]["bbox"] = [1, 2, 30, 9]
    write(place, "truth.json", annotations=[boxes[2], boxes[1], boxes[0]], images=document()["images"][::-1])
    samples = opened(place, truth=str(place / "truth.json"))
    assert samples.wrong.tolist() == [False, True, False]


def test_the_fingerprint_changes_with_a_box(place):
    before = opened(place)
    boxes = document()["annotations"]
    boxes[0]["bbox"] = [5, 5, 10, 12]
    write(place, annotations=boxes)
    after = opened(place)
    assert before.fingerprint != after.fingerprint
    from ogacli.data.fingerprints import input_fingerprints, read_label_fingerprints

    batch, changed = before.read([0]), after.read([0])
    assert input_fingerprints(batch.inputs) == input_fingerprints(changed.inputs)
    found, other = (read_label_fingerprints(one.inputs, one.labels) for one in (batch, changed))
    assert found != other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": None}, "no list of annotations"),
        ({"images": [{"id": 1}]}, r"images\[0\]: a picture without id and file_name"),
        ({"images": document()["images"] * 2}, r"images\[3\]: the id of another picture"),
        ({"categories": []}, "no categories"),
        ({"categories": [{"id": 3}]}, r"categories\[0\]: a category without id and name"),
        ({"categories": [{"id": 3, "name": "cat"}]}, r"annotations\[0\]: a box of no category"),
        ({"annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "a box of no picture"),
        (
            {"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3]}]},
            r"annotations\[0\]: not a box",
        ),
        ({"annotations": [{"image_id": 1, "category_id": [], "bbox": [1, 2, 3, 4]}]}, "a box of no category"),
        ({"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, "2", 3, 4]}]}, "not a box"),
    ],
)
def test_a_broken_file_is_told(place, changes, message):
    write(place, **changes)
    with pytest.raises(DataError, match=message):
        opened(place)


@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1, -1, 0, True, None, "40", [40]])
def test_a_size_that_can_be_none_is_not_compared(place, size):
    images = document()["images"]
    images[0]["width"] = size
    write(place, images=images)
    samples = opened(place)
    assert samples.reader.sizes.tolist()[0] == [0, 0]
    assert not samples.reader.read([0])[1]


def test_a_box_of_any_numbers_is_cut_off_or_told(place):
    """Numbers that float32 does not hold are no warnings, and no infinite corners."""
    boxes = [[0, 0, 1e308, (1 << 64) - 1], [-1e308, -1e308, 1.7e308, 1.7e308], [1.7e308, 0, 1.7e308, 1]]
    write(
        place,
        annotations=[{"image_id": i + 1, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)],
    )
    found, failures = opened(place).reader.read([0, 1, 2])
    assert found[0].boxes.tolist() == [[0, 0, 40, 30]]
    assert list(failures) == [2]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": 3}'])
def test_a_file_of_another_form_is_told(place, text):
    (place / "boxes.json").write_text(text)
    with pytest.raises(DataError, match=r"boxes\.json: (not JSON|no list of images)"):
        opened(place)


def test_other_mistakes_are_told(place):
    with pytest.raises(DataError, match="categories that `classes` does not name"):
        opened(place, classes=("cat", "cow"))
    with pytest.raises(DataError, match="no such file"):
        Coco(annotations=str(place / "none.json"), root=str(place)).open()
    write(place, "truth.json", images=document()["images"][:2], annotations=[])
    with pytest.raises(DataError, match="pictures are not there"):
        opened(place, truth=str(place / "truth.json"))


def test_labels_are_counted_by_picture(place):
    samples = opened(place)
    assert samples.label_type.counts(torch.tensor([[2.0, 0.0], [1.0, 3.0]]), samples.classes).tolist() == [
        2,
        1,
    ]
