"""What trimming is worth on human label noise: CIFAR-10N, retrained with paired seeds.

    python benchmarks/retraining.py [aggre] [rand1] [worse] [--samples 6000] [--epochs 12] [--seeds 5]

The protocol of the paper (ResNet-34, all 50,000 pictures, 100 epochs) at the size of two cores: a ResNet is
trained on the first so many pictures; its last checkpoint is scanned as in the paper (`preset: paper`:
forest, 5 %), all of its checkpoints with the default detector and `budget: auto`. Then it is trained anew,
with the same seeds, on all pictures, on those that each scan keeps, on as many at random, with what the
second scan flags under the label that it suggests, and on the rightly labelled ones. Accuracy is that after
the last epoch, on test pictures. What was measured is kept in the work folder line by line, and not
measured again.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from measured import Measured
from torch import Tensor

from ogacli import Run
from ogacli.config import Config, parse_config
from ogacli.config.commands import scan, train
from ogacli.data import Samples
from ogacli.models.training.accuracy import trained_accuracy
from ogacli.models.training.start import trainable
from ogacli.scan.verify import Arm, difference

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "cifar10n"
NOISES = ("aggre", "rand1", "worse")
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PAPER, AUTO = "the paper's forest, 5 %", "default, auto"
ALL, RELABELLED, ORACLE = "all", "default, auto, relabelled", "oracle"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("noises", nargs="*", metavar="LABELS", help=f"of {', '.join(NOISES)}; all by default")
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--test", type=int, default=3000)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--precision", default="bfloat16", help="of the trainings; or float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=Path("runs/retraining"))
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("an interval takes two seeds or more")
    for noise in options.noises or NOISES:
        Experiment(options, noise).run()
    print("\n\n".join(Experiment(options, noise).table() for noise in options.noises or NOISES))


class Experiment:
    """One column of labels."""

    def __init__(self, options: argparse.Namespace, noise: str) -> None:
        self.options = options
        self.noise = noise
        self.folder = options.work.absolute() / f"{noise}-{options.samples}x{options.epochs}-{options.depth}"
        self.measured = Measured(self.folder / "accuracy.jsonl")

    def config(self, **sections: Any) -> Config:
        """The config, with other sections."""
        pictures = {
            "source": "table",
            "image": "{index:05d}.jpg",
            "classes": CLASSES,
            "transform": "cifar10",
        }
        values = {
            "data": pictures
            | {"path": str(DATA / "labels.csv"), "root": str(DATA / "images_train.zip"), "truth": "clean"}
            | {"label": self.noise, "limit": self.options.samples},
            "model": {
                "source": "resnet_cifar",
                "depth": self.options.depth,
                "checkpoint": str(self.folder / "checkpoints" / "epoch-*.safetensors"),
            },
            "train": {
                "epochs": self.options.epochs,
                "batch_size": 64,
                "augment": True,
                "precision": self.options.precision,
                "device": self.options.device,
                "output": str(self.folder / "checkpoints"),
            },
            "verify": {
                "test": pictures
                | {"path": str(DATA / "labels_test.csv"), "root": str(DATA / "images_test.zip")}
                | {"label": "clean", "limit": self.options.test}
            },
            "gradients": {"device": self.options.device},
        }
        return parse_config(yaml.safe_dump(values | sections))

    def run(self) -> None:
        """Train, scan twice, and train anew on each choice with each seed; each step is made once."""
        if not (self.folder / "checkpoints").exists():
            train(self.config())
        last = str(self.folder / "checkpoints" / f"epoch-{self.options.epochs:03d}.safetensors")
        model = {"source": "resnet_cifar", "depth": self.options.depth, "checkpoint": last}
        paper = self.scanned("paper", self.config(preset="paper", model=model))
        auto = self.scanned("auto", self.config(budget="auto"))
        config = self.config()
        samples, test = config.data.open(), config.test.open()
        known = {(row["arm"], row["seed"]) for row in self.measured.lines()}
        arms = dict(self.arms(samples, paper, auto))
        for seed in range(self.options.seeds):
            for arm, chosen in arms.items():
                if (arm, seed) in known:
                    continue
                assert chosen.truth is not None
                right = float((chosen.labels == chosen.truth).double().mean())
                found = trained_accuracy(
                    chosen, test, trainable(config.model), config.loss, config.train, seed=seed
                )
                self.measured.add(arm=arm, seed=seed, samples=len(chosen), right=right, accuracy=found)

    def scanned(self, name: str, config: Config) -> Run:
        """A scan, from the disk where it is there."""
        folder = self.folder / name
        return Run.open(folder) if folder.exists() else scan(config, output=folder)

    def arms(self, samples: Samples, paper: Run, auto: Run) -> Iterator[tuple[str, Samples]]:
        """What each training is given."""
        assert samples.truth is not None
        yield ALL, samples
        for name, run in ((PAPER, paper), (AUTO, auto)):
            flagged = torch.from_numpy(run.scores["flagged"].to_numpy(zero_copy_only=False))
            kept = (~flagged).nonzero()[:, 0]
            yield name, samples.select(kept)
            order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
            yield f"random, as many as {name}", samples.select(order[: len(kept)].sort().values)
        yield RELABELLED, replace(samples, labels=_suggested(samples, auto, flagged))
        yield ORACLE, samples.select((samples.labels == samples.truth).nonzero()[:, 0])

    def table(self) -> str:
        """Means, deviations, and the paired differences to training on all."""
        rows = self.measured.lines()
        lines = [
            f"### {self.noise}",
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


def _suggested(samples: Samples, run: Run, flagged: Tensor) -> Tensor:
    """The labels, those of flagged samples replaced by what is suggested for them."""
    names = run.scores["suggested_label"].to_pylist()
    found = samples.labels.clone()
    for row in flagged.nonzero()[:, 0].tolist():
        if names[row] is not None:
            found[row] = samples.classes.index(names[row])
    return found


if __name__ == "__main__":
    main()
