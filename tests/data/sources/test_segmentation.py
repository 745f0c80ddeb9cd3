"""Pictures and masks: two folders, an archive, or a table with a column of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from ogacli.data import Samples
from ogacli.data.sources.segmentation import Segmentation
from ogacli.errors import DataError

NAMES = ["a/0.png", "a/1.png", "b/2.png", "b/3.png"]
CLASSES = ("ground", "cat", "dog")


def mask(i: int) -> np.ndarray:
    """Of 6 x 5 pixels; the first row has no class."""
    found = np.random.default_rng(i).integers(0, 3, (6, 5), dtype=np.uint8)
    found[0] = 255
    return found


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def place(tmp_path: Path, pixels: Callable[..., np.ndarray]) -> Path:
    for i, name in enumerate(NAMES):
        write(tmp_path / "images" / name, pixels(i))
        write(tmp_path / "masks" / name, mask(i))
        write(tmp_path / "true" / name, mask(i))
    return tmp_path


def opened(place: Path, **options: object) -> Samples:
    given = {
        "images": str(place / "images"),
        "masks": str(place / "masks"),
        "classes": CLASSES,
        "ignore_index": 255,
    }
    return Segmentation.model_validate(given | options).open()


def expected(i: int) -> torch.Tensor:
    values = torch.from_numpy(mask(i)).long()
    return values.where(values < 255, -100)


def test_reads_pictures_and_masks(place: Path) -> None:
    samples = opened(place)
    batch = samples.read([3, 0])
    assert samples.ids.to_pylist() == NAMES
    assert torch.equal(batch.labels, torch.stack([expected(3), expected(0)]))
    assert batch.inputs.shape == (2, 3, 6, 5)
    assert samples.label_type.counts(samples.labels, samples.classes).tolist() == [4, 4, 4]
    assert samples.wrong is None
    assert samples.reader.preview(0).kind == "image"


def test_an_archive_gives_the_same(place: Path, zipped: Callable[..., Path]) -> None:
    packed = opened(place, masks=str(zipped(place / "masks", place / "masks.zip")))
    assert torch.equal(packed.read([0, 1]).labels, opened(place).read([0, 1]).labels)


def test_a_table_gives_the_same(place: Path) -> None:
    rows = [f"images/{name},masks/{name},true/{name}" for name in NAMES]
    (place / "pairs.csv").write_text("\n".join(["photo,mask,right", *rows]))
    given = {
        "path": str(place / "pairs.csv"),
        "image": "photo",
        "true_mask": "right",
        "images": None,
        "masks": None,
    }
    samples = opened(place, **given)
    assert torch.equal(samples.read([2]).labels, opened(place).read([2]).labels)
    assert samples.wrong is not None
    assert not samples.wrong.any()


def test_the_truth_tells_which_masks_are_wrong(place: Path) -> None:
    changed = mask(1)
    changed[3, 2] = (changed[3, 2] + 1) % 3
    write(place / "masks" / NAMES[1], changed)
    changed = mask(2)
    changed[3] = 255  # no class, which is no wrong one
    write(place / "masks" / NAMES[2], changed)
    samples = opened(place, truth=str(place / "true"))
    assert samples.wrong is not None
    assert samples.wrong.tolist() == [False, True, False, False]


def test_masks_with_a_palette_are_class_indices(place: Path) -> None:
    image = Image.fromarray(mask(0), "P")
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    image.save(place / "masks" / NAMES[0])
    assert torch.equal(opened(place).read([0]).labels[0], expected(0))


def test_masks_move_with_their_pictures(place: Path) -> None:
    """Twice the size, cropped beyond the border: pixels are not mixed, and outside there is no class."""
    found = opened(place, transform={"resize": (12, 10), "crop": (14, 10)}).read([0]).labels[0]
    doubled = expected(0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    outside = torch.full((1, 10), -100)
    assert torch.equal(found, torch.cat([outside, doubled, outside]))


def test_bad_masks_are_quarantined(place: Path) -> None:
    write(place / "masks" / NAMES[0], mask(0)[:4])
    write(place / "masks" / NAMES[1], np.where(mask(1) == 2, 7, mask(1)).astype(np.uint8))
    write(place / "masks" / NAMES[2], np.full((6, 5), 255, np.uint8))
    (place / "masks" / NAMES[3]).unlink()
    write(place / "images/c/4.png", np.zeros((6, 5, 3), np.uint8))
    write(place / "masks/c/4.png", np.zeros((6, 5, 3), np.uint8))
    write(place / "images/c/5.png", np.zeros((6, 5, 3), np.uint8))
    write(place / "masks/c/5.png", mask(5))
    batch = opened(place).read(range(6))
    assert batch.rows.tolist() == [5]
    assert batch.quarantined == {
        0: "mask: 4 x 5 pixels, the picture 6 x 5",
        1: "mask: a pixel of class 7; expected 0 to 2 or 255",
        2: "mask: no pixel has a class",
        3: "mask: no such file",
        4: "mask: colours (RGB); expected class indices as grey values or a palette",
    }


def test_where_no_mask_can_be_used_there_is_one_message(place: Path) -> None:
    with pytest.raises(
        DataError, match=r"no mask can be used\n  found: mask: a pixel of class 255; expected 0 to 2\n"
    ):
        opened(place, ignore_index=None)


def test_masks_of_no_picture_are_told(place: Path) -> None:
    write(place / "masks/c/9.png", mask(9))
    assert opened(place).reader.notes == ("1 mask belongs to no picture and was left out: c/9.png",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": None}, "`images` and `masks` belong together"),
        ({"path": "pairs.csv"}, "give either `images` and `masks`, or `path`"),
        ({"true_mask": "right"}, "`true_mask` is a column of `path`"),
    ],
)
def test_keys_that_do_not_fit_together(place: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        opened(place, **options)
