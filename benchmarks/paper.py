"""The paper's own experiment on CIFAR-10N: train, trim 5 %, train anew (Chhabra et al., ICML 2025, table 2).

    python benchmarks/retraining.py --paper [--device cuda] [--epochs 100] [--samples N] [--depth 34]

A ResNet-34 is trained for 100 epochs on all 50,000 pictures under the labels `worse`, `rand1`, `aggre`: SGD
with momentum 0.9, rate 0.1 and 0.01 from epoch 60 on, weight decay 5e-4, batches of 128, crops and mirror
images. Its last checkpoint is scanned, and fresh networks are trained in the same way on what is left.
Accuracy is that after the last epoch on the 10,000 test pictures; the paper takes the best of the test
epochs, which stands beside it.

Forward and backward passes are in bfloat16 and channels last, for speed; the paper has float32. Pictures lie
on the device as bytes. Each training is a line of a file in the folder `--work` and is not made again; one
that is interrupted goes on from the last of every ten epochs. Those that tell most come first, so that a
table comes out whatever the time. Fewer samples or epochs, or another depth, try the script out.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measured import Measured
from torch import Tensor, nn

import ogacli
from ogacli import Run
from ogacli.base.device import device_of
from ogacli.base.precision import computing_on
from ogacli.base.seeding import seeded
from ogacli.data import Samples
from ogacli.models.checkpoints import save_weights
from ogacli.models.sources import Fit
from ogacli.models.sources.resnet_cifar import ResnetCifar

LABELS = ("worse", "rand1", "aggre")
ARMS = ("all", "paper", "random", "default", "benefit")
PUBLISHED = {"aggre": (90.87, 92.21), "rand1": (89.17, 90.66), "worse": (82.27, 84.20)}
"""Untrimmed and trimmed, best of the test epochs."""
_BATCH, _RATE, _DECAY, _PAD = 128, 0.1, 5e-4, 4
_MEAN, _DEVIATION = 0.47, 0.25
_SAVED = 10
"""Epochs after which an unfinished training is saved."""


class Experiment:
    """One kind of labels.

    Args:
        options: Of the command line.
        label: The column of labels.
        pictures: Of training and test, uint8 [n, 3, 32, 32].
        columns: The labels of both by name.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        label: str,
        pictures: tuple[np.ndarray, np.ndarray],
        columns: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    ) -> None:
        self.device, self.epochs, self.label = device_of(options.device), options.epochs or 100, label
        self.network = ResnetCifar(depth=options.depth)
        size = f"{len(pictures[0])}x{self.epochs}"
        self.folder = options.work / f"paper-{label}-resnet{options.depth}-{size}"
        self.measured = Measured(self.folder / "accuracy.jsonl")
        standardised = (pictures[0] / np.float32(255) - np.float32(_MEAN)) / np.float32(_DEVIATION)
        self.samples = Samples.of(
            standardised, labels=columns[0][label], classes=10, truth=columns[0]["clean"]
        )
        self.x, self.test = (torch.from_numpy(each).to(self.device) for each in pictures)
        self.y = torch.from_numpy(columns[0][label]).to(self.device)
        self.right = torch.from_numpy(columns[1]["clean"]).to(self.device)

    def run(self, arm: str) -> None:
        """Train one arm, if that was not done."""
        if any(row["arm"] == arm for row in self.measured.lines()):
            return
        kept = self.kept(arm)
        module, accuracies = self.trained(arm, kept, seed=0 if arm == "all" else 1)
        if arm == "all":
            save_weights(module, self.folder / "all.safetensors")
        rows = kept.cpu()
        labels, truth = self.samples.labels[rows], self.samples.truth
        assert truth is not None
        self.measured.add(
            arm=arm,
            samples=len(kept),
            right=float((labels == truth[rows]).double().mean()),
            last=accuracies[-1],
            best=max(accuracies),
        )

    def kept(self, arm: str) -> Tensor:
        """The rows that an arm trains on."""
        n = len(self.samples)
        if arm == "all":
            return torch.arange(n, device=self.device)
        flagged = torch.from_numpy(
            self.scanned("paper" if arm == "random" else arm).scores["flagged"].to_numpy()
        )
        if arm == "random":
            count = int(flagged.sum())
            flagged = torch.zeros(n, dtype=torch.bool)
            flagged[torch.randperm(n, generator=torch.Generator().manual_seed(0))[:count]] = True
        return (~flagged).nonzero()[:, 0].to(self.device)

    def scanned(self, arm: str) -> Run:
        """The scan of an arm, from the disk where it is there."""
        folder = self.folder / arm
        if folder.exists():
            return Run.open(folder)
        forest = {"name": "isolation_forest", "trees": 100, "subsample": 256}
        options: dict[str, Any] = {
            "paper": {"detector": forest, "budget": 0.05, "protect": "off", "bias": False},
            "default": {"budget": "auto"},
            "benefit": {"budget": "benefit"},
        }[arm]
        weights = str(self.folder / "all.safetensors")
        return ogacli.scan(
            self.samples, self.network, checkpoint=weights, device=str(self.device), **options
        ).save(folder)

    def trained(self, arm: str, rows: Tensor, seed: int) -> tuple[nn.Module, list[float]]:
        """A network that is trained on these rows, and its test accuracy after each epoch."""
        with computing_on(self.device), seeded(seed, self.device):
            module = self.network.build(Fit.of(self.samples))
            module.to(self.device, memory_format=torch.channels_last)
            rule = {"lr": _RATE, "momentum": 0.9, "weight_decay": _DECAY}
            optimizer = torch.optim.SGD(module.parameters(), **rule)
            unfinished = Unfinished(self.folder / f"{arm}.pt", module, optimizer, self.device)
            accuracies = unfinished.restored()
            for epoch in range(len(accuracies), self.epochs):
                optimizer.param_groups[0]["lr"] = _RATE if epoch < round(0.6 * self.epochs) else _RATE / 10
                module.train()
                for batch in rows[torch.randperm(len(rows), device=self.device)].split(_BATCH):
                    pictures = augmented(self.x[batch])
                    with torch.autocast(self.device.type, dtype=torch.bfloat16):
                        loss = F.cross_entropy(module(pictures).float(), self.y[batch])
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                accuracies.append(self.accuracy(module.eval()))
                print(f"{self.label}, {arm}: epoch {epoch + 1}: {accuracies[-1]:.4f}", flush=True)
                if len(accuracies) % _SAVED == 0:
                    unfinished.save(accuracies)
        return module, accuracies

    @torch.no_grad()
    def accuracy(self, module: nn.Module) -> float:
        """The share of the test pictures that are right."""
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        for pictures, labels in zip(self.test.split(1000), self.right.split(1000), strict=True):
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                right += (module(standardised(pictures)).argmax(1) == labels).sum()
        return right.item() / len(self.test)


class Unfinished:
    """A training on the disk, so that it goes on where it was interrupted."""

    def __init__(
        self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
    ) -> None:
        self.path, self.parts = path, {"module": module, "optimizer": optimizer}
        self.random = {"cpu": torch} | (
            {} if device.type == "cpu" else {device.type: torch.get_device_module(device.type)}
        )

    def save(self, accuracies: list[float]) -> None:
        """Write weights, optimizer, random state, and what was measured."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["random"] = {name: of.get_rng_state() for name, of in self.random.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state | {"accuracies": accuracies}, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)

    def restored(self) -> list[float]:
        """Take what was saved, if anything was; returns the accuracies."""
        if not self.path.exists():
            return []
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        for name, of in self.random.items():
            of.set_rng_state(state["random"][name])
        accuracies: list[float] = state["accuracies"]
        return accuracies


def standardised(pictures: Tensor) -> Tensor:
    """Bytes as float32, channels last."""
    found = (pictures.float() / 255 - _MEAN) / _DEVIATION
    return found.contiguous(memory_format=torch.channels_last)


def augmented(pictures: Tensor) -> Tensor:
    """Standardised pictures, each cropped at random after padding and mirrored with probability 1/2."""
    b, _, h, w = pictures.shape
    device = pictures.device
    padded = F.pad(standardised(pictures), (_PAD,) * 4)
    top, left = (torch.randint(2 * _PAD + 1, (b, 1), device=device) for _ in range(2))
    across = torch.arange(w, device=device).expand(b, -1)
    mirrored = torch.rand(b, 1, device=device) < 0.5
    columns = left + torch.where(mirrored, w - 1 - across, across)
    rows = top + torch.arange(h, device=device)
    # [b, h, w, c] by one index, which is channels last already
    found = padded.permute(0, 2, 3, 1)[
        torch.arange(b, device=device)[:, None, None], rows[:, :, None], columns[:, None]
    ]
    return found.permute(0, 3, 1, 2)


def experiments(options: argparse.Namespace) -> Iterator[Experiment]:
    """Those of all labels, over the same pictures."""
    from retraining import bytes_of, columns_of

    n = options.samples or 50_000
    tested = 10_000 if n == 50_000 else max(10, n // 5)
    pictures = bytes_of("images_train.zip", n), bytes_of("images_test.zip", tested)
    columns = columns_of("labels.csv", n), columns_of("labels_test.csv", tested)
    for label in LABELS:
        yield Experiment(options, label, pictures, columns)


def run(options: argparse.Namespace) -> None:
    """All labels without trimming and with the paper's; then the other arms."""
    several = list(experiments(options))
    for arms in (ARMS[:2], ARMS[2:]):
        for one in several:
            for arm in arms:
                one.run(arm)
                print(table(several), flush=True)


def table(several: Sequence[Experiment]) -> str:
    """What is there so far."""
    lines = [
        "| labels | trained on | samples | right | last epoch | best epoch | published |",
        "| --- " * 7 + "|",
    ]
    for one in several:
        for row in one.measured.lines():
            untrimmed, trimmed = PUBLISHED[one.label]
            known = {"all": untrimmed, "paper": trimmed}.get(row["arm"], "")
            accuracy = f"{100 * row['last']:.2f} | {100 * row['best']:.2f} | {known}"
            lines.append(
                f"| {one.label} | {row['arm']} | {row['samples']:,} | {row['right']:.1%} | {accuracy} |"
            )
    return "\n".join(lines)
