from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder as Reference

from ogacli.data.sources.image_folder import ImageFolder
from ogacli.errors import DataError

NAMES = ["cat/a.png", "cat/b.png", "dog/a.png", "dog/deep/c.PNG"]


@pytest.fixture(params=["folder", "zip", "folder in a zip", "bucket", "zip through fsspec"])
def root(
    request: pytest.FixtureRequest, picture_folder: Path, tmp_path: Path, zipped: Callable[..., Path]
) -> str:
    match request.param:
        case "folder":
            return str(picture_folder)
        case "zip":
            return str(zipped(picture_folder, tmp_path / "p.zip"))
        case "folder in a zip":
            return str(zipped(picture_folder, tmp_path / "p.zip", prefix="train/")) + "/train"
        case "bucket":
            url = f"memory://{tmp_path.name}"
            fsspec.filesystem("memory").put(f"{picture_folder}/", f"{url}/", recursive=True)
            return url
        case _:
            return f"zip://::file://{zipped(picture_folder, tmp_path / 'p.zip')}"


def test_reads_classes_and_pictures(root: str, pixels: Callable[..., np.ndarray]) -> None:
    samples = ImageFolder(root=root).open()
    assert samples.ids.to_pylist() == NAMES
    assert samples.classes == ("cat", "dog")
    assert samples.labels.tolist() == [0, 0, 1, 1]
    assert samples.positions.tolist() == [0, 1, 2, 3]
    batch = samples.read([3, 1])
    assert batch.labels.tolist() == [1, 0]
    expected = np.stack([pixels(3), pixels(1)]).transpose(0, 3, 1, 2)
    assert torch.equal(batch.inputs, torch.from_numpy(expected).float() / 255)
    content = samples.reader.file(2)
    raw = content.read_bytes() if isinstance(content, Path) else content
    assert raw is not None
    assert raw.startswith(b"\x89PNG")


def test_given_classes_decide_the_order(picture_folder: Path) -> None:
    samples = ImageFolder(root=str(picture_folder), classes=("dog", "cat", "owl")).open()
    assert samples.labels.tolist() == [1, 1, 0, 0]
    assert samples.classes == ("dog", "cat", "owl")
    with pytest.raises(DataError, match=r"sample 'cat/a.png': a folder that `classes` does not name"):
        ImageFolder(root=str(picture_folder), classes=("dog",)).open()


def test_an_empty_class_keeps_its_index(picture_folder: Path) -> None:
    (picture_folder / "bird").mkdir()
    samples = ImageFolder(root=str(picture_folder)).open()
    assert samples.classes == ("bird", "cat", "dog")
    assert samples.labels.tolist() == [1, 1, 2, 2]


def test_hidden_folders_and_rubbish_are_no_classes(
    picture_folder: Path, tmp_path: Path, zipped: Callable[..., Path]
) -> None:
    expected = ImageFolder(root=str(picture_folder)).open()
    rubbish = (
        ".ipynb_checkpoints/a.png",
        "__MACOSX/._x.png",
        "cat/.hidden/a.png",
        "cat/._a.png",
        "@eaDir/a.png",
    )
    for name in (*rubbish, "Thumbs.db", "dog/Desktop.ini", ".DS_Store"):
        (picture_folder / name).parent.mkdir(exist_ok=True)
        (picture_folder / name).write_bytes((picture_folder / "cat/a.png").read_bytes())
    bucket = f"memory://{tmp_path.name}-rubbish"
    fsspec.filesystem("memory").put(f"{picture_folder}/", f"{bucket}/", recursive=True)
    for root in (str(picture_folder), str(zipped(picture_folder, tmp_path / "r.zip")), bucket):
        found = ImageFolder(root=root).open()
        assert (found.classes, found.ids) == (expected.classes, expected.ids)
        assert found.labels.equal(expected.labels)
        assert found.reader.notes[0].startswith("8 hidden names were left out: .DS_Store, .ipynb_checkpoints")


def test_what_lies_beside_the_samples_is_told(picture_folder: Path, encode: Any) -> None:
    (picture_folder / "bird").mkdir()
    (picture_folder / "gnu").mkdir()
    (picture_folder / "gnu" / "old.gif").write_bytes(b"GIF89a")
    (picture_folder / "loose.png").write_bytes(encode(np.zeros((6, 5, 3), np.uint8)))
    reader = ImageFolder(root=str(picture_folder)).open().reader
    assert reader.notes == (
        "1 image lies in no folder of a class and was left out: loose.png",
        "2 class folders hold no images: bird, gnu",
        "2 files have another suffix (.txt 1, .gif 1) and were not read: dog/notes.txt, gnu/old.gif",
    )
    assert reader.others == ("dog/notes.txt", "gnu/old.gif")
    assert Path(reader.other_file("gnu/old.gif")).read_bytes() == b"GIF89a"  # type: ignore[arg-type]


def test_links_out_of_the_folder_and_in_circles_are_not_followed(
    picture_folder: Path, tmp_path: Path
) -> None:
    expected = ImageFolder(root=str(picture_folder)).open().ids.to_pylist()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    for name, target in {
        "out": outside,
        "cat/up": picture_folder,
        "cat/self": picture_folder / "cat",
        "cat/itself": picture_folder / "cat/itself",
        "dog/secret.png": outside / "secret.png",
    }.items():
        (picture_folder / name).symlink_to(target)
    (picture_folder / "dog/inside.png").symlink_to(picture_folder / "cat/a.png")
    (picture_folder / "dog/deep/other").symlink_to(picture_folder / "cat")
    found = ImageFolder(root=str(picture_folder)).open()
    inside = ["dog/inside.png", "dog/deep/other/a.png", "dog/deep/other/b.png"]
    assert sorted(found.ids.to_pylist()) == sorted(expected + inside)
    assert any(
        note.startswith("8 links were not followed, out of the folder or in a circle: cat/itself, cat/self")
        for note in found.reader.notes
    ), "the five, and three of them once more by another way"


def test_a_folder_of_links_alone_says_so(picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "cat").symlink_to(picture_folder / "cat")
    with pytest.raises(
        DataError, match=r"no image files in folders\n  found: nothing; 1 link was not followed"
    ):
        ImageFolder(root=str(tmp_path / "links")).open()


def write_truth(folder: Path, text: str) -> str:
    (folder / "truth.csv").write_text(text)
    return str(folder / "truth.csv")


@pytest.mark.parametrize(
    "text",
    [
        "file,truth\ncat/a.png,cat\ncat/b.png,dog\ndog/a.png,dog\ndog/deep/c.PNG,dog\nother.png,cat\n",
        "truth,extra,id\ncat,1,./cat/a.png\ndog,2,cat\\b.png\ndog,3,dog/a.png\ndog,4,c.PNG\n",
        "picture,right\nc.PNG,dog\ndog/a.png,dog\nb.png,dog\ncat/a.png,cat\n",
    ],
)
def test_truth_by_file_name(picture_folder: Path, tmp_path: Path, text: str) -> None:
    samples = ImageFolder(root=str(picture_folder), truth=write_truth(tmp_path, text)).open()
    assert samples.truth is not None
    assert samples.truth.tolist() == [0, 1, 1, 1]
    assert samples.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,truth\ncat/a.png,cat\n", r"sample 'cat/b.png': 3 of 4 files have no truth"),
        ("file,truth\na.png,cat\n", "row 1: several files have this name"),
        ("file,truth\ncat/a.png,cat\ncat/a.png,cat\n", "row 2: a file is named twice"),
        ("a,b,c\n1,2,3\n", "no columns of file names and values"),
        ("f,t\ncat/a.png,owl\nb.png,dog\ndog/a.png,dog\nc.PNG,dog\n", "truth is not a class"),
        ("f,t\ncat/a.png,\nb.png,dog\ndog/a.png,dog\nc.PNG,dog\n", "truth is missing"),
    ],
)
def test_a_table_of_the_truth_that_does_not_fit(
    picture_folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ImageFolder(root=str(picture_folder), truth=write_truth(tmp_path, text)).open()


def test_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "loose.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no image files in folders\n  found: loose.png\n  expected: class/image"
    ):
        ImageFolder(root=str(tmp_path)).open()


def test_a_damaged_file_is_quarantined(picture_folder: Path) -> None:
    (picture_folder / "cat" / "b.png").write_bytes(b"not a picture")
    batch = ImageFolder(root=str(picture_folder)).open().read([0, 1, 2])
    assert batch.quarantined == {1: "not an image"}
    assert batch.rows.tolist() == [0, 2]
    assert batch.labels.tolist() == [0, 1]
    assert len(batch.inputs) == 2


part = st.text("aZ0-_. b", min_size=1, max_size=3).filter(lambda name: name.strip(". ") == name)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.lists(part, min_size=2, max_size=4).map(tuple), min_size=1, max_size=12))
def test_order_and_classes_are_those_of_torchvision(
    tmp_path_factory: pytest.TempPathFactory, encode: Callable[..., bytes], paths: set[tuple[str, ...]]
) -> None:
    root = tmp_path_factory.mktemp("images")
    content = encode(np.zeros((2, 2, 3), np.uint8))
    for *folders, name in paths:
        folder = root.joinpath(*(f"{folder}d" for folder in folders))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(content)
    expected = Reference(root)
    samples = ImageFolder(root=str(root)).open()
    assert list(samples.classes) == expected.classes
    assert [
        (str(root / name), label)
        for name, label in zip(samples.ids.to_pylist(), samples.labels.tolist(), strict=True)
    ] == [(path, label) for path, label in expected.samples]
