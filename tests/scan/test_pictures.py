"""Whole scans of real pictures, some of which were made dark, bright, blurred or blank."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ogacli.config.commands import scan
from ogacli.run.reports.sentences import results
from ogacli.run.trim.manifest import manifest_table
from ogacli.verdict.budget import Budget
from ogacli.verdict.reasons import PICTURES
from small_scans import make_place

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[3] / "shared" / "data"))
N, EACH = 600, 10


def cifar() -> list[Image.Image]:
    with zipfile.ZipFile(DATA / "cifar10n" / "images_train.zip") as archive:
        return [Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg"))) for i in range(N)]


def mnist() -> list[Image.Image]:
    with np.load(DATA / "images" / "mnist_10k.npz") as arrays:
        return [Image.fromarray(one) for one in arrays["x"][:N]]


SPOILED = {
    "dark": lambda picture: picture.point([i // 6 for i in range(256)] * len(picture.getbands())),
    "bright": lambda picture: picture.point([255 - i // 6 for i in range(256)] * len(picture.getbands())),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    "blank": lambda picture: Image.new(picture.mode, picture.size, "grey"),
}


@pytest.fixture(params=[cifar, mnist])
def spoiled(request, tmp_path):
    """A place with the pictures, normalised, and what was done to each."""
    if not DATA.exists():
        pytest.skip(f"no data at {DATA}; set OGA_DATA")
    pictures, done = request.param(), [None] * N
    for number, (word, spoil) in enumerate(SPOILED.items()):
        for i in range(50 + number, 50 + 20 * EACH, 20):
            pictures[i], done[i] = spoil(pictures[i]), word
    x = np.stack([np.asarray(one, dtype=np.float32).reshape(*one.size[::-1], -1) for one in pictures])
    x = (x / 255 - np.float32(0.45)) / np.linspace(0.2, 0.3, x.shape[3], dtype=np.float32)
    place = make_place(tmp_path)
    y = np.random.default_rng(0).integers(0, 3, N)
    place.write(x=np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y=y, truth=y)
    place.new_weights(0, "model.checkpoint=null")
    return place, done


def test_spoiled_pictures_are_found(spoiled):
    place, done = spoiled
    run = scan(place.config("budget=1.0", "protect=off"))
    found = run.scores["picture"].to_pylist()
    planted = [i for i, word in enumerate(done) if word]
    assert [found[i] for i in planted] == [done[i] for i in planted]
    others = [word for word, spoiled in zip(found, done, strict=True) if not spoiled and word]
    assert len(others) <= 2, "of 560"
    counts = {word: found.count(word) for word in PICTURES[1:]}
    assert run.summary.pictures == counts
    line = f"{sum(counts.values())} pictures, flagged or not, are poor: 10 blank"
    assert any(one.startswith(line) for one in results(run.summary))
    given = {word: set() for word in SPOILED}
    for word, reason in zip(found, run.scores["reason"].to_pylist(), strict=True):
        if word:
            given[word].add(reason)
    assert given["blank"] == {"corrupt"}
    for word in ("dark", "bright", "blurred"):
        assert word in given[word] <= {word, "mislabelled"}


def test_another_budget_gives_the_same_reasons(spoiled):
    place, _ = spoiled
    few = scan(place.config("budget=5", "protect=off"))
    many = scan(place.config("budget=500", "protect=off"), output=place.folder / "many")
    table = manifest_table(few, budget=Budget(500))
    blank = np.array(few.scores["picture"].to_pylist()) == "blank"
    same = np.array(table["reason"].to_pylist()) == np.array(many.scores["reason"].to_pylist())
    assert same[~blank].all(), "blank inputs are known only of samples that the scan flagged"


def test_pictures_of_an_earlier_run_are_judged_again(spoiled):
    place, _ = spoiled
    whole = scan(place.config())
    arrays = place.arrays
    first = {name: arrays[name][:400] for name in ("x", "y", "truth")}
    place.write(**first)
    before = scan(place.config(), output=place.folder / "before")
    place.write(**arrays)
    after = scan(place.config(), output=place.folder / "after", since=before.path)
    assert after.provenance["since"]["copied"] > 0
    assert after.scores["picture"].to_pylist() == whole.scores["picture"].to_pylist()


def test_other_inputs_have_no_such_column(tmp_path):
    run = scan(make_place(tmp_path).config())
    assert "picture" not in run.scores.column_names
    assert run.summary.pictures == {}


def test_one_poor_picture_is_told_in_the_singular(tmp_path):
    summary = scan(make_place(tmp_path).config()).summary
    one = summary.model_copy(update={"pictures": {"blank": 0, "dark": 1, "bright": 0, "blurred": 0}})
    told = "1 picture, flagged or not, is poor: 1 dark; column `picture` of scores.parquet tells which"
    assert told in results(one)
    assert set(results(one)) - set(results(summary)) == {told}


@pytest.fixture
def folder(tmp_path):
    """A folder of 80 pictures of about one size, a tiny and a long one."""
    rng = np.random.default_rng(0)
    for i in range(80):
        width, height = {7: (9, 8), 30: (400, 20)}.get(i, (40 + i % 5, 36))
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    place = make_place(tmp_path)
    transform = {"resize": [16, 16]}
    place.write_config(data={"source": "image_folder", "root": "pictures", "transform": transform})
    place.new_weights(0, "model.checkpoint=null")
    return place


@pytest.mark.parametrize("workers", [0, 2])
def test_odd_sizes_of_files_are_told(folder, workers):
    run = scan(folder.config(f"data.workers={workers}"))
    found = {
        one: word
        for one, word in zip(run.scores["id"].to_pylist(), run.scores["picture"].to_pylist(), strict=True)
        if word and word.startswith("odd")
    }
    assert found == {"b/07.png": "odd_size", "a/30.png": "odd_shape"}
    assert (run.summary.pictures["odd_size"], run.summary.pictures["odd_shape"]) == (1, 1)
    again = scan(folder.config(), output=folder.folder / "again", since=run.path)
    assert again.scores["picture"].equals(run.scores["picture"])
    assert again.provenance["since"]["copied"] == 80
