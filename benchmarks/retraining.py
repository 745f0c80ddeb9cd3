"""What each action is worth: retrained with paired seeds on a clean test set.

    python benchmarks/retraining.py [SET ..] [--samples N] [--epochs N] [--seeds 5] [--arms all --probe P]

Sets: mnist-0, mnist-20, agnews-20 (the share of flipped labels), sst2-20, mrpc-20 (perceptrons on MiniLM
embeddings), cifar10n-clean, -aggre, -rand1, -worse (human labels; a ResNet-8), the same as cifar10n-mlp-..
(16 x 16 pixels and a perceptron of 64) and as cifar10n-features-.. (a perceptron on ImageNet features). A
network is trained on the samples with their noisy labels; all of its checkpoints are scanned with the default
detector and with `budget: benefit` as it is by default; then it is trained anew, with the same seeds, on all
samples, on what was chosen, and on the rightly labelled ones. `--arms all` adds what each action makes of
`budget: auto`, as many at random, the paper's forest (5 %) and each `--probe`; `--arms tried` adds each
choice that the default tried out, to see in hindsight which was the best. Accuracy is that after the last
epoch on test samples with right labels. What was measured is kept in the work folder line by line, and not
measured again.
"""

import argparse
import csv
import io
import statistics
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence.sets import HUMAN, embedded, kept, real, sentences, texts
from measured import Measured

import ogacli
from ogacli import Run
from ogacli.data import Samples
from ogacli.data.selection import flip_labels
from ogacli.models.sources import NetworkSource
from ogacli.models.sources.mlp import Mlp
from ogacli.models.sources.resnet_cifar import ResnetCifar
from ogacli.models.tasks.classification import Classification
from ogacli.models.training.accuracy import trained_accuracy
from ogacli.models.training.loop import TrainOptions
from ogacli.scan.retraining.arms import Arm, difference
from ogacli.scan.retraining.treatments import Treated, treated
from ogacli.verdict.budget import Action, Budget

WORK = Path("runs/retraining")
"""Embeddings are kept there, too."""
ALL, ORACLE, CHOSEN = "all", "oracle", "benefit"
ACTIONS: tuple[Action, ...] = ("trim", "relabel", "weight")
SETS = (
    *("agnews-20", "mnist-20", "mnist-0", "sst2-20", "mrpc-20"),
    *(f"cifar10n{kind}-{label}" for kind in ("-features", "-mlp", "") for label in ("clean", *HUMAN)),
)


@dataclass(frozen=True)
class Task:
    """Samples with noisy labels, clean test samples, and how a network is trained."""

    samples: Samples
    test: Samples
    network: NetworkSource
    train: TrainOptions


def task_of(name: str, samples: int | None, epochs: int | None) -> Task:
    """The set of that name, with so many samples and epochs in place of its own."""
    kind, _, label = name.rpartition("-")
    make: dict[str, Callable[[str, int | None], Task]] = {
        "mnist": _mnist,
        "agnews": _agnews,
        "sst2": _sst2,
        "mrpc": _mrpc,
        "cifar10n-features": _features,
        "cifar10n": _resnet,
        "cifar10n-mlp": _perceptron,
    }
    found = make[kind](label, samples)
    if epochs is None:
        return found
    return Task(found.samples, found.test, found.network, found.train.model_copy(update={"epochs": epochs}))


def _flipped(x: np.ndarray, y: np.ndarray, split: int, label: str, train: TrainOptions) -> Task:
    """The first ``split`` samples with flipped labels, the others to test; a perceptron."""
    k = int(y.max()) + 1
    samples, test = (
        Samples.of(x[part].astype(np.float32), labels=y[part].astype(np.int64), classes=k)
        for part in (slice(0, split), slice(split, None))
    )
    share = int(label) / 100
    samples = flip_labels(samples, share, 0) if share else replace(samples, truth=samples.labels)
    return Task(samples, test, Mlp(hidden=(256,)), train)


def _mnist(label: str, samples: int | None) -> Task:
    with np.load(real("images/mnist_10k.npz")) as arrays:
        x, y = arrays["x"].reshape(10_000, -1) / np.float32(255), arrays["y"]
    options = TrainOptions(epochs=15, batch_size=64, learning_rate=0.001)
    return _flipped(x, y, samples or 5000, label, options)


def _agnews(label: str, samples: int | None) -> Task:
    """Word counts (TF-IDF) in 200 dimensions; fitted without labels."""
    rows = texts("agnews_7600")
    order = np.random.default_rng(0).permutation(len(rows))
    x = _words([f"{rows[i]['title']} {rows[i]['text']}" for i in order])
    y = np.array([rows[i]["label"] for i in order])
    return _flipped(x, y, samples or 5000, label, TrainOptions(epochs=15, batch_size=64, learning_rate=0.001))


def _sst2(label: str, samples: int | None) -> Task:
    """Embeddings; the official dev and test sets to test."""
    n = samples or 5000
    rows = [*texts("sst2_train")[:n], *texts("sst2_dev"), *texts("sst2_test")]
    x = kept(WORK / f"sst2-{n}.npy", lambda: sentences([row["text"] for row in rows]))
    y = np.array([row["label"] for row in rows])
    return _flipped(x, y, n, label, TrainOptions(epochs=15, batch_size=64, learning_rate=0.001))


def _mrpc(label: str, samples: int | None) -> Task:
    """What two embeddings differ by and have in common; the official dev and test sets to test."""
    rows = texts("mrpc_train")
    n = min(samples or len(rows), len(rows))
    rows = [*rows[:n], *texts("mrpc_dev"), *texts("mrpc_test")]

    def pairs() -> np.ndarray:
        both = sentences([row[name] for name in ("text_a", "text_b") for row in rows])
        one, other = both[: len(rows)], both[len(rows) :]
        return np.concatenate([np.abs(one - other), one * other], 1)

    x, y = kept(WORK / f"mrpc-{n}.npy", pairs), np.array([row["label"] for row in rows])
    return _flipped(x, y, n, label, TrainOptions(epochs=15, batch_size=64, learning_rate=0.001))


def _features(label: str, samples: int | None) -> Task:
    """What the head of an ImageNet MobileNetV2 reads; a perceptron."""
    n, test = samples or 6000, 2000
    labels, right = columns_of("labels.csv", n), columns_of("labels_test.csv", test)["clean"]
    trained, tested = (
        kept(WORK / f"{file}-{count}.npy", partial(_embedded, file, count))
        for file, count in (("images_train", n), ("images_test", test))
    )
    middle, spread = trained.mean(0), trained.std(0) + 1e-6
    x, other = ((part - middle) / spread for part in (trained, tested))
    given = Samples.of(x, labels=labels[label], classes=10, truth=labels["clean"])
    train = TrainOptions(epochs=15, batch_size=64, learning_rate=0.001)
    return Task(given, Samples.of(other, labels=right, classes=10), Mlp(hidden=(256,)), train)


def _embedded(file: str, count: int) -> np.ndarray:
    return embedded(_pictures(f"{file}.zip", count, 32))


def _words(several: list[str]) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(max_features=20_000, sublinear_tf=True).fit_transform(several)
    found: np.ndarray = TruncatedSVD(200, random_state=0).fit_transform(counts)
    return found / found.std(0)


def _resnet(label: str, samples: int | None) -> Task:
    return _cifar(label, samples or 6000, 3000, 32, ResnetCifar(depth=8), _RESNET)


def _perceptron(label: str, samples: int | None) -> Task:
    return _cifar(label, samples or 6000, 3000, 16, Mlp(hidden=(64,)), TrainOptions(epochs=6))


_RESNET = TrainOptions(epochs=12, batch_size=64, augment=True, precision="bfloat16")


def _cifar(
    label: str, samples: int, test: int, size: int, network: NetworkSource, train: TrainOptions
) -> Task:
    labels = columns_of("labels.csv", samples)
    given = Samples.of(
        _pictures("images_train.zip", samples, size),
        labels=labels[label],
        classes=10,
        truth=labels["clean"],
    )
    right = columns_of("labels_test.csv", test)["clean"]
    tested = Samples.of(_pictures("images_test.zip", test, size), labels=right, classes=10)
    return Task(given, tested, network, train)


def columns_of(file: str, n: int) -> dict[str, np.ndarray]:
    with real(f"cifar10n/{file}").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))[:n]
    return {name: np.array([int(row[name]) for row in rows]) for name in rows[0] if name != "index"}


def _pictures(file: str, n: int, size: int) -> np.ndarray:
    """The first so many, standardised, [n, 3, size, size]."""
    pixels = bytes_of(file, n, size)
    return (pixels / np.float32(255) - np.float32(0.47)) / np.float32(0.25)


def bytes_of(file: str, n: int, size: int = 32) -> np.ndarray:
    """The first so many pictures, uint8 [n, 3, size, size]."""
    from PIL import Image

    with zipfile.ZipFile(real(f"cifar10n/{file}")) as archive:
        opened = (Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg"))) for i in range(n))
        small = (one if size == one.width else one.resize((size, size), Image.BILINEAR) for one in opened)
        pixels = np.stack([np.asarray(one) for one in small])
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


class Experiment:
    """One set."""

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        self.options = options
        self.name = name
        size = f"{options.samples or 'all'}x{options.epochs or 'own'}"
        self.folder = options.work.absolute() / f"{name}-{size}"
        self.measured = Measured(self.folder / "accuracy.jsonl")

    def run(self) -> None:
        """Train, scan, and train anew on each choice with each seed; each step is made once."""
        self.task = task_of(self.name, self.options.samples, self.options.epochs)
        known = {(row["arm"], row["seed"]) for row in self.measured.lines()}
        done: list[tuple[Treated, str]] = []
        for arm, chosen in self.arms():
            same = next((name for one, name in done if one.same(chosen)), None)
            done.append((chosen, arm))
            samples = chosen.samples
            assert samples.truth is not None
            right = float((samples.labels == samples.truth).double().mean())
            for seed in range(self.options.seeds):
                if (arm, seed) in known:
                    continue
                found = self.found(same, seed) if same else self.accuracy(chosen, seed)
                self.measured.add(arm=arm, seed=seed, samples=len(samples), right=right, accuracy=found)

    def found(self, arm: str, seed: int) -> float:
        """What was measured of an arm."""
        rows = self.measured.lines()
        return next(float(row["accuracy"]) for row in rows if (row["arm"], row["seed"]) == (arm, seed))

    def accuracy(self, chosen: Treated, seed: int) -> float:
        """After a training on a choice of the samples."""
        task = self.task
        return trained_accuracy(
            chosen.samples,
            task.test,
            task.network,
            Classification(),
            task.train,
            seed=seed,
            weights=chosen.weights,
        )

    def scanned(self, name: str, **options: Any) -> Run:
        """A scan, from the disk where it is there."""
        folder, checkpoints = self.folder / name, self.folder / "checkpoints"
        if folder.exists():
            return Run.open(folder)
        task = self.task
        if not checkpoints.exists():
            ogacli.train(task.samples, task.network, output=checkpoints, options=task.train)
        weights = sorted(str(path) for path in checkpoints.glob("epoch-*"))
        given = {"checkpoint": weights, "train": task.train} | options
        if given["checkpoint"] == "last":
            given["checkpoint"] = weights[-1]
        return ogacli.scan(task.samples, task.network, **given).save(folder)

    def arms(self) -> Iterator[tuple[str, Treated]]:
        """What each training is given."""
        samples = self.task.samples
        assert samples.truth is not None
        yield ALL, Treated(samples)
        yield ORACLE, Treated(samples.select((samples.labels == samples.truth).nonzero()[:, 0]))
        if self.options.arms != "all":
            yield self.chosen("default", {})
            if self.options.arms == "tried":
                yield from self.tried()
            return
        auto = self.scanned("auto", budget="auto")
        for action in ACTIONS:
            yield f"auto, {action}", treated(samples, auto, action)
        kept = int((~auto.scores["flagged"].to_numpy()).sum())
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
        yield "random, as many as auto", Treated(samples.select(order[:kept].sort().values))
        paper = {"name": "isolation_forest", "trees": 100, "subsample": 256}
        options = {"detector": paper, "budget": 0.05, "protect": "off", "bias": False, "checkpoint": "last"}
        forest = self.scanned("paper", **options)
        yield "the paper's forest, 5 %", treated(samples, forest, "trim")
        for probe in self.options.probe.split(","):
            for actions in (ACTIONS, ACTIONS[:1]):
                name = f"{probe}, {'any action' if len(actions) > 1 else 'trim'}"
                yield self.chosen(name, {"probe": probe, "actions": list(actions)})

    def tried(self) -> Iterator[tuple[str, Treated]]:
        """What each choice that `budget: benefit` tried out leaves, by the final ranking of all samples."""
        run = self.scanned("default")
        assert run.summary.benefit is not None
        for one in run.summary.benefit.trials:
            if one.amount or one.action == "weight":
                left = treated(self.task.samples, run, one.action, Budget(one.amount))
                yield f"{one.action} {one.amount:.0%}", left

    def chosen(self, name: str, options: dict[str, Any]) -> tuple[str, Treated]:
        """What `budget: benefit` with these options leaves."""
        run = self.scanned(name.replace(", ", "-"), budget={"benefit": options})
        found = run.summary.benefit
        assert found is not None
        gains = [f"{t.action} {t.amount} {t.gain:+.4f} ({t.error:.4f})" for t in found.trials]
        name = f"{CHOSEN}, {name}"
        print(f"{self.name}: {name}: {found.action} {found.amount}; {', '.join(gains)}", flush=True)
        return name, treated(self.task.samples, run, found.action)

    def table(self) -> str:
        """Means, deviations, and the paired differences to training on all."""
        rows = self.measured.lines()
        lines = [
            f"### {self.name}",
            "",
            "| trained on | samples | right labels | accuracy | against all, 95 % |",
            "| --- | ---: | ---: | ---: | --- |",
        ]
        for name in dict.fromkeys(row["arm"] for row in rows):
            first = next(row for row in rows if row["arm"] == name)
            arm, base = (_arm(rows, one) for one in (name, ALL))
            gap = difference(arm, base)
            interval = f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
            lines.append(
                f"| {name} | {arm.samples:,} | {first['right']:.1%} "
                f"| {100 * arm.mean:.1f} ± {100 * statistics.stdev(arm.accuracies):.1f} "
                f"| {'' if name == ALL else interval} |"
            )
        return "\n".join(lines)


def _arm(rows: list[dict[str, Any]], name: str) -> Arm:
    """The trainings of an arm, by seed."""
    own = sorted((row for row in rows if row["arm"] == name), key=lambda row: row["seed"])
    return Arm(name, own[0]["samples"], tuple(row["accuracy"] for row in own))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--samples", type=int, help="training samples; each set has its own number")
    parser.add_argument("--epochs", type=int, help="of each training; each set has its own number")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--probe", default="auto", help="auto, head, network, or several with commas")
    parser.add_argument("--arms", choices=("few", "tried", "all"), default="few")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--device", default="auto", help="of --paper")
    parser.add_argument("--depth", type=int, default=34, help="of the ResNet of --paper, to try it out: 8")
    parser.add_argument(
        "--paper", action="store_true", help="the paper's experiment; see benchmarks/paper.py"
    )
    options = parser.parse_args()
    if options.paper:
        import paper

        paper.run(options)
        return
    if options.seeds < 2:
        parser.error("an interval takes two seeds or more")
    for name in options.sets or SETS:
        Experiment(options, name).run()
    print("\n\n".join(Experiment(options, name).table() for name in options.sets or SETS))


if __name__ == "__main__":
    main()
