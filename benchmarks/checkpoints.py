"""Does the diagnosis recognise checkpoints that have memorised wrong labels, and how much do neighbours help?

    python benchmarks/checkpoints.py [--sets digits breast_cancer mnist cifar10n] [--epochs 60]

For each data set and share of wrong labels a network is trained. After some of its epochs a line shows the
share of the wrong labels that it predicts (the truth is known here), the estimate of the diagnosis, its
verdict, and the average precision of the norm of the residual: at the prediction for the sample, and at the
mean prediction for its neighbours. Output: markdown on stdout. MNIST and CIFAR-10N are read from the folder
OGA_DATA.
"""

import argparse
import csv
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from ogacli.gradients import GradientBatch
from ogacli.gradients.neighbours import NeighbourOptions, Neighbours
from ogacli.models.tasks.classification import Classification
from ogacli.verdict.diagnosis import Diagnosis, diagnose
from ogacli.verdict.findings import Findings, Probed

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[2] / "shared" / "data"))
EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 100)
LOSS = Classification()


@dataclass(frozen=True)
class Task:
    """A data set under some wrong labels, and the body of a network for it."""

    name: str
    x: Tensor
    labels: Tensor
    truth: Tensor
    body: nn.Module
    width: int
    learning_rate: float = 3e-3


def tasks(names: list[str]) -> Iterator[Task]:
    """The data sets, each under several shares of wrong labels."""
    if "digits" in names:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        for share, pairs in (
            (0, False),
            (0.05, False),
            (0.1, False),
            (0.2, False),
            (0.4, False),
            (0.2, True),
        ):
            yield flipped("digits", x / 16, y, share, pairs, perceptron(64))
    if "breast_cancer" in names:
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        for share in (0, 0.1, 0.2, 0.4):
            yield flipped("breast_cancer", (x - x.mean(0)) / x.std(0), y, share, False, perceptron(30))
    if "mnist" in names:
        file = np.load(DATA / "images" / "mnist_10k.npz")
        some = np.random.default_rng(0).permutation(10_000)[:4000]
        x, y = file["x"][some].reshape(4000, -1) / 255, file["y"][some]
        for share in (0, 0.05, 0.2, 0.4):
            yield flipped("mnist", x, y, share, False, perceptron(784), 1e-3)
    if "cifar10n" in names:
        for column in ("clean", "aggre", "worse"):
            yield cifar10n(column)


def perceptron(inputs: int) -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU())


def flipped(
    name: str, x: np.ndarray, y: np.ndarray, share: float, pairs: bool, body: nn.Module, rate: float = 3e-3
) -> Task:
    """Give a share of the samples the next class (``pairs``), or any other one."""
    rng, k = np.random.default_rng(1), int(y.max()) + 1
    truth = y.astype(np.int64)
    labels = truth.copy()
    rows = rng.permutation(len(y))[: round(share * len(y))]
    labels[rows] = (labels[rows] + (1 if pairs else rng.integers(1, k, len(rows)))) % k
    kind = "pairs" if pairs else "uniform"
    tensors = (torch.from_numpy(part) for part in (x.astype(np.float32), labels, truth))
    return Task(f"{name}, {kind} {share:.0%}", *tensors, body, 256, rate)


def cifar10n(column: str, n: int = 3000) -> Task:
    """The first so many pictures, and a small convolutional network."""
    from PIL import Image

    with (DATA / "cifar10n" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[:n]
    with zipfile.ZipFile(DATA / "cifar10n" / "images_train.zip") as archive:
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg")))) for i in range(n)]
    x = (np.stack(pictures).transpose(0, 3, 1, 2) / 255 - 0.47) / 0.25
    body = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 256), nn.ReLU()),
    )
    labels, truth = (torch.tensor([int(row[name]) for row in rows]) for name in (column, "clean"))
    return Task(f"CIFAR-10N {column}", torch.from_numpy(x.astype(np.float32)), labels, truth, body, 256, 1e-3)


def checkpoints(task: Task, epochs: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Epoch, logits and features, after some epochs of a training."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(task.width, int(task.truth.max()) + 1)
    weights = [*task.body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, task.learning_rate, weight_decay=5e-4)
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(task.x), generator=generator).split(32):
            optimizer.zero_grad()
            F.cross_entropy(head(task.body(task.x[rows])), task.labels[rows]).backward()
            optimizer.step()
        if epoch in EPOCHS:
            with torch.no_grad():
                features = task.body(task.x)
                yield epoch, head(features), features


def diagnosis(task: Task, logits: Tensor, features: Tensor) -> Diagnosis:
    """The diagnosis of a scan with this checkpoint."""
    everyone = torch.arange(len(task.x))
    probabilities = logits.softmax(1)
    confidence, predictions = probabilities.max(1)
    given = probabilities[everyone, task.labels]
    probed = Probed(everyone, features)
    return diagnose(Findings({}, predictions, confidence, given, {}, probed=probed), task.labels)


def precisions(task: Task, logits: Tensor, features: Tensor) -> list[float]:
    """Average precision of the L2 norm of the residual: the sample's own, and its neighbours'."""
    wrong = (task.labels != task.truth).numpy()
    if not wrong.any():
        return [float("nan")] * 2
    rows = torch.arange(len(task.x))
    bank = Neighbours(NeighbourOptions(), LOSS, len(rows))
    bank.see(GradientBatch(rows, task.labels, logits, logits, features, []))
    bank.close()
    theirs = bank(rows, features)
    residuals = (LOSS.residual(predicted, task.labels) for predicted in (logits, theirs))
    return [float(average_precision_score(wrong, residual.norm(dim=1).numpy())) for residual in residuals]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["digits", "breast_cancer", "mnist", "cifar10n"])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    torch.manual_seed(0)
    print(
        "| labels | epoch | fit | wrong labels learned | contradicted | learned of these | verdict "
        "| AP loss | AP neighbours |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    for task in tasks(options.sets):
        wrong = task.labels != task.truth
        for epoch, logits, features in checkpoints(task, options.epochs):
            found = diagnosis(task, logits, features)
            assert found.neighbours is not None
            right = (logits.argmax(1) == task.labels)[wrong].float().mean()
            numbers = [found.fit, float(right), found.neighbours.contradicted, found.neighbours.learned]
            cells = ["" if value is None or value != value else f"{value:.3f}" for value in numbers]
            aps = ["" if value != value else f"{value:.3f}" for value in precisions(task, logits, features)]
            print("|", " | ".join([task.name, str(epoch), *cells, str(found.verdict), *aps]), "|", flush=True)


if __name__ == "__main__":
    main()
