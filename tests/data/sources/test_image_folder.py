from collections.abc import Callable
from pathlib import Path

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
