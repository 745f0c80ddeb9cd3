"""Near-duplicates, far samples, and what looking for them costs.

    python benchmarks/inputs.py

Made near-duplicates: 500 samples of each set, changed in one way and added to the set. Far samples: 20 of
another set among those that a small network was trained on. Constants were chosen on other rows of the same
sets. Cost: CPU seconds of a scan with one detector, with and without looking, one after the other.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from sklearn.feature_extraction.text import HashingVectorizer
from torch import nn

import ogacli
from ogacli.scan.collected.features import Features

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from near_copies import (
    DATA,
    cifar,
    compressed,
    cropped,
    darker,
    groups,
    mnist,
    moved,
    of_another_word,
    paler,
    resized,
    tensors,
)

COPIED, PLANTED = 500, 20


def texts(name: str, keys: Sequence[str] = ("text",)) -> list[str]:
    lines = (DATA / "text" / name).read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)[key] for line in lines for key in keys))


OF_PICTURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 50": compressed,
    "3/4 of the size and back": resized,
    "moved by a pixel, both ways": moved,
    "brightness 0.7": darker,
    "contrast 0.6": paler,
    "2 pixels cut off at each side": cropped,
}
OF_TEXTS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "other punctuation": lambda one: one.replace(".", " !").replace(",", ""),
    "one word changed": of_another_word,
    "last two words left out": lambda one: " ".join(one.split()[:-2]),
}


def near_duplicates() -> None:
    print("| set | change | found | more samples in one group with another one than without the copies |")
    print("| --- | --- | --- | --- |")
    sets = {
        "CIFAR-10, rows 10,000 to 19,999": (cifar(range(10_000, 20_000)), OF_PICTURES, tensors),
        "MNIST, rows 5,000 to 9,999": (mnist(range(5_000, 10_000)), OF_PICTURES, tensors),
        "MRPC, single sentences": (texts("mrpc_test.jsonl", ("text_a",)), OF_TEXTS, list),
        "SST-2, test": (texts("sst2_test.jsonl"), OF_TEXTS, list),
    }
    for name, (samples, changes, inputs) in sets.items():
        n, rows = len(samples), torch.arange(len(samples))
        own = inputs(samples)
        before = groups(own)
        alone = before != rows
        for change, changed in changes.items():
            copies = inputs([changed(one) for one in samples[:COPIED]])
            both = torch.cat([own, copies]) if isinstance(own, torch.Tensor) else own + copies
            after = groups(both)
            found = float((after[n:] == after[:COPIED]).float().mean())
            more = int(((after[:n] != rows) & ~alone).sum())
            print(f"| {name} | {change} | {found:.1%} | {more} of {n:,} |", flush=True)
        print(f"| {name} | none | | {int(alone.sum())} of {n:,} are told as the set is |", flush=True)


def trained(
    x: torch.Tensor, y: torch.Tensor, network: nn.Sequential, epochs: int, seed: int
) -> nn.Sequential:
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    return network.eval()


def convolutions(side: int = 2) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, width in ((1, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(128 * side * side, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


def far() -> None:
    with (DATA / "cifar10n" / "labels.csv").open() as file:
        labels = [row["clean"] for row in csv.DictReader(file)]
    names = sorted(set(labels))
    grey = tensors([one.convert("L") for one in cifar(range(20_000, 24_000))])
    of_grey = torch.tensor([names.index(one) for one in labels[20_000:24_000]])
    digits = tensors([one.resize((32, 32)) for one in mnist(range(6_000, 10_000))])
    with np.load(DATA / "images" / "mnist_10k.npz") as arrays:
        of_digits = torch.from_numpy(arrays["y"][6_000:10_000]).long()
    words = HashingVectorizer(n_features=4096, alternate_sign=False)
    lines = (DATA / "text" / "agnews_7600.jsonl").read_text(encoding="utf-8").splitlines()[:4000]
    news = [json.loads(line) for line in lines]
    classes = sorted({one["label"] for one in news})
    of_news = torch.tensor([classes.index(one["label"]) for one in news])

    def bags(several: list[str]) -> torch.Tensor:
        return torch.from_numpy(words.transform(several).toarray().astype(np.float32))

    def perceptron() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4096, 64), nn.ReLU(), nn.Linear(64, len(classes)))

    cases = {
        "CIFAR-10, grey; digits": (grey, of_grey, digits[:1000], convolutions, 8),
        "MNIST; CIFAR-10, grey": (digits, of_digits, grey[:1000], convolutions, 2),
        "AG News; SST-2": (
            bags([one["text"] for one in news]),
            of_news,
            bags(texts("sst2_dev.jsonl")),
            perceptron,
            4,
        ),
    }
    print("| trained on; planted | seed | accuracy | planted told | others told | told without planted |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (x, y, others, make, epochs) in cases.items():
        for seed in range(3):
            torch.manual_seed(seed)
            network = trained(x, y, make(), epochs, seed)
            rows = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:PLANTED]
            with torch.no_grad():
                body = network[:-1]
                own = torch.cat([body(part) for part in x.split(500)])
                accuracy = float((network[-1](own).argmax(1) == y).float().mean())
                planted = body(others[rows])
            clean = told(own, y)
            drawn = torch.Generator().manual_seed(seed)
            given = torch.randint(0, int(y.max()) + 1, (PLANTED,), generator=drawn)
            both = told(torch.cat([own, planted]), torch.cat([y, given]))
            print(
                f"| {name} | {seed} | {accuracy:.1%} | {both[len(y) :].float().mean():.0%} "
                f"| {both[: len(y)].float().mean():.2%} | {clean.float().mean():.2%} |",
                flush=True,
            )


def told(features: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    n = len(features)
    kept = Features(n, torch.device("cpu"))
    kept.values[:, : features.shape[1]] = features
    kept.values[:, features.shape[1] :] = 0
    kept.checkpoint[:] = 0
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:4096].sort().values
    found = kept.far(chosen, y)
    assert found is not None
    return ~found.isnan()


def cost() -> None:
    def convolution() -> nn.Sequential:
        return nn.Sequential(
            *(nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
        )

    sets = {
        "CIFAR-10, 400 at 32 x 32, ResNet-18": (
            tensors(cifar(range(400))),
            torchvision.models.resnet18(num_classes=10),
        ),
        "MNIST, 10,000, two small convolutions": (tensors(mnist(range(10_000))), convolution()),
    }
    print("| scan with `l2` | near_duplicates | far |")
    print("| --- | --- | --- |")
    for name, (x, network) in sets.items():
        samples = ogacli.Samples.of(x.numpy(), labels=np.arange(len(x)) % 10, classes=10)

        def seconds(*look_for: str, samples: ogacli.Samples = samples, network: nn.Module = network) -> float:
            began = time.process_time()
            ogacli.scan(samples, network.eval(), detector="l2", look_for=look_for, workers=0)
            return time.process_time() - began

        seconds()
        shares = {}
        for what in ("near_duplicates", "far"):
            pairs = [seconds(what) / seconds() - 1 for _ in range(3)]
            shares[what] = f"{np.median(pairs):+.0%} ({min(pairs):+.0%} to {max(pairs):+.0%})"
        print(f"| {name} | {shares['near_duplicates']} | {shares['far']} |", flush=True)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--only", choices=("near_duplicates", "far", "cost"))
    only = parser.parse_args().only
    for part in (near_duplicates, far, cost):
        if only in (None, part.__name__):
            part()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
