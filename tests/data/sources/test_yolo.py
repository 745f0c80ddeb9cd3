"""Pictures with boxes in the form of YOLO."""

import numpy as np
import pytest
from PIL import Image

from ogacli.data.sources.yolo import Yolo
from ogacli.errors import ConfigError, DataError


@pytest.fixture
def place(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "images" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "images" / "train" / name)
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("1 0.5 0.5 0.5 1\n0 0.25 0.25 0.1 0.2\n")
    (labels / "b.txt").write_text("")
    return tmp_path


def opened(place, **options):
    return Yolo(root=str(place / "images" / "train"), **({"classes": ("cat", "dog")} | options)).open()


def test_a_picture_is_a_sample(place):
    samples = opened(place)
    assert samples.ids.to_pylist() == ["a.png", "b.png", "c.png"]
    assert samples.labels.tolist() == [[1, 1], [0, 0], [0, 0]]
    batch = samples.read(range(3))
    assert np.allclose(batch.inputs[0].boxes, [[10, 0, 30, 20], [8, 3, 12, 7]])
    assert batch.inputs[0].classes.tolist() == [1, 0]
    assert not batch.quarantined


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 0.5 0.5 0.5", "line 2 of its text file is not `class x y width height`"),
        ("dog 0.5 0.5 0.5 0.5", "line 2 of its text file is not"),
        ("1 0.5 0.5 nan 0.5", "line 2 of its text file holds no finite numbers"),
        ("1 0.5 0.5 0 0.5", "box 1 has no area"),
        ("1 1.5 0.5 0.1 0.5", "box 1 lies outside the picture"),
    ],
)
def test_a_line_that_is_no_box_quarantines_the_picture(place, line, reason):
    (place / "labels" / "train" / "b.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    found = opened(place).read(range(3)).quarantined
    assert set(found) == {1}
    assert found[1].startswith(reason)


def test_an_unknown_class_is_told(place):
    (place / "labels" / "train" / "b.txt").write_text("2 0.5 0.5 0.5 0.5")
    with pytest.raises(DataError, match=r"b\.txt:1: a class that there is not"):
        opened(place)


def test_names_and_truth_may_be_files(place):
    (place / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    (place / "true").mkdir()
    (place / "true" / "a.txt").write_text("0 0.25 0.25 0.1 0.2\n1 0.5 0.5 0.5 1\n")
    (place / "true" / "c.txt").write_text("0 0.25 0.25 0.1 0.2\n")
    samples = opened(place, classes=None, names=str(place / "data.yaml"), truth=str(place / "true"))
    assert samples.classes == ("cat", "dog")
    assert samples.wrong.tolist() == [False, False, True]
    (place / "names.txt").write_text("cat\ndog\n")
    assert opened(place, classes=None, names=str(place / "names.txt")).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: !!bool x", r"names\.yaml:1: not a value"),
        ("day: 2001-99-99\nnames: [cat]", r"names\.yaml:1: not a value"),
        ("names: &a [*a]", "within itself"),
        ("{[a]: b}", "a key that is a list"),
        ("names: [cat, cat]", "a class is named twice"),
        ("names: {0: cat, 2: dog}", "no class names"),
        ("names: !!python/object/apply:os.system [id]", "tag"),
    ],
)
def test_hostile_names_are_told(place, names, message):
    (place / "names.yaml").write_text(names)
    with pytest.raises((ConfigError, DataError), match=message):
        opened(place, classes=None, names=str(place / "names.yaml"))


def test_text_files_without_a_picture_are_counted(place):
    (place / "labels" / "train" / "z.txt").write_text("0 0.5 0.5 0.5 0.5")
    (place / "labels" / "train" / "classes.txt").write_text("cat\ndog")
    assert opened(place).reader.notes == ("1 text file was left out, without a picture: z.txt",)


def test_other_mistakes_are_told(place):
    with pytest.raises(DataError, match="no pictures"):
        Yolo(root=str(place / "labels"), classes=("cat",)).open()
    (place / "data.yaml").write_text("nc: 2\n")
    with pytest.raises(DataError, match="no class names"):
        opened(place, classes=None, names=str(place / "data.yaml"))
    with pytest.raises(ValueError, match="give the class names"):
        Yolo(root=str(place))
