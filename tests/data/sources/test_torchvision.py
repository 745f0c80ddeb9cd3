import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogacli.data.sources.torchvision import DatasetReader, Torchvision
from ogacli.errors import DataError


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """MNIST's files with five pictures of each split."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for i, split in enumerate(("train", "t10k")):
        pictures = np.random.default_rng(i).integers(0, 256, (5, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", 0x803, 5, 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + pictures.tobytes())
        labels = bytes([3, 1, 4, 1, 5]) if split == "train" else bytes([9, 2, 6, 5, 3])
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 5) + labels)
    return tmp_path


@pytest.mark.parametrize(
    ("split", "seed", "labels"), [("train", 0, [3, 1, 4, 1, 5]), ("test", 1, [9, 2, 6, 5, 3])]
)
def test_reads_a_dataset_from_disk(split: str, seed: int, labels: list[int], mnist: Path) -> None:
    samples = Torchvision(name="MNIST", root=str(mnist), split=split, transform={"grayscale": True}).open()
    assert samples.labels.tolist() == labels
    assert samples.classes[3] == "3 - three"
    assert samples.ids.to_pylist() == list("01234")
    found = samples.read([4, 0]).inputs
    pictures = np.random.default_rng(seed).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    assert torch.equal(found, torch.from_numpy(pictures[[4, 0], None]).float() / 255)
    assert Torchvision(name="MNIST", root=str(mnist), split=split).open().read([0]).inputs.shape == (
        1,
        3,
        28,
        28,
    )
    assert samples.reader.preview(0).kind == "image"
    assert samples.reader.file(0) is None


def test_splits_have_different_fingerprints(mnist: Path) -> None:
    train = Torchvision(name="MNIST", root=str(mnist), args={"train": True}).open()
    test = Torchvision(name="MNIST", root=str(mnist), args={"train": False}).open()
    assert train.fingerprint != test.fingerprint


def test_reader_pickles(mnist: Path) -> None:
    reader = Torchvision(name="MNIST", root=str(mnist)).open().reader
    assert torch.equal(pickle.loads(pickle.dumps(reader)).read([1])[0], reader.read([1])[0])


def test_labels_are_read_where_the_dataset_keeps_no_list(
    tmp_path: Path, encode: Callable[..., bytes]
) -> None:
    """The layout of RenderedSST2, whose labels stand in private tuples beside the paths."""
    for label in ("negative", "positive"):
        folder = tmp_path / "rendered-sst2" / "valid" / label
        folder.mkdir(parents=True)
        for i in range(2):
            (folder / f"{i}.png").write_bytes(encode(np.full((4, 4, 3), i, np.uint8)))
    samples = Torchvision(name="RenderedSST2", root=str(tmp_path), split="val").open()
    assert samples.labels.tolist() == [0, 0, 1, 1]
    assert samples.classes == ("negative", "positive")
    (tmp_path / "rendered-sst2" / "valid" / "negative" / "1.png").write_bytes(b"")
    assert isinstance(samples.reader, DatasetReader)
    assert list(samples.read([0, 1, 2]).quarantined) == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "CIFAR1O"}, r"data.name: torchvision has no dataset 'CIFAR1O'; did you mean 'CIFAR10'\?"),
        (
            {"name": "CIFAR10"},
            r"CIFAR10 cannot be opened\n  found: (.|\n)*next: check `root` or set `download: true`",
        ),
        ({"name": "MNIST", "split": "valid"}, r"MNIST has no split 'valid'\n  expected: train or test"),
        ({"name": "MNIST", "args": {"trian": True}}, r"MNIST cannot be opened\n  found: .*trian"),
        ({"name": "ImageNet"}, r"ImageNet cannot be opened"),
        ({"name": "ImageNet", "download": True}, r"data.download: torchvision cannot download ImageNet"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        Torchvision(root=str(tmp_path), **options).open()


def test_a_dataset_that_is_unpickled_is_refused(tmp_path):
    with pytest.raises(DataError, match="torchvision unpickles a file in the folder of LSUN") as told:
        Torchvision(name="LSUN", root=str(tmp_path)).load()
    assert "source: image_folder" in str(told.value)
