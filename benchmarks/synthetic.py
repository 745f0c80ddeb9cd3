"""The paper's synthetic sets: which labels are found wrong, and what trimming them does.

    python benchmarks/synthetic.py [linear] [moons] [moons-noisy] [--seeds 20] [--output FOLDER]

``linear``: 150 points that a line separates, 10 of them mislabelled, logistic regression. ``moons``: two half
moons of 250 points, 20 mislabelled, a perceptron of 32 hidden units; ``moons-noisy``: three times as much
scattered, so that they overlap and one test point in ten is out of reach. Each seed draws its own points,
labels and weights; the last checkpoint scores the points by the gradients of its last layer; as many as are
mislabelled are trimmed and the training is repeated from the same weights. Detection is the share of points
that are rightly flagged or rightly not; accuracy is that on 100 further points after the last epoch. Writes
``synthetic.md`` and ``synthetic.png``, the picture of the first seed.
"""

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

SETS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear"},
    "moons": {"kind": "moons"},
    "moons-noisy": {"kind": "moons", "noise": 0.3},
}
MISLABELLED = {"linear": 10, "moons": 20}
HIDDEN: dict[str, list[int]] = {"linear": [], "moons": [32]}
DETECTORS = ("isolation_forest", "l1", "l2", "latent_label")
NOTHING, RANDOM, ORACLE = "nothing trimmed", "random", "oracle"
EPOCHS = 50


@dataclass(frozen=True)
class Outcome:
    """What one seed of one set showed."""

    detection: dict[str, float]
    """Share of points rightly flagged or not, by detector."""
    accuracy: dict[str, float]
    """On the test points, by what was trimmed."""


@dataclass(frozen=True)
class Picture:
    """What is drawn of a set."""

    points: Tensor
    labels: Tensor
    wrong: Tensor
    gradients: Tensor
    scores: dict[str, Tensor]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("runs/synthetic"))
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"no set {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    names = options.sets or list(SETS)
    found = {name: [experiment(name, seed) for seed in range(options.seeds)] for name in names}
    text = tables({name: [outcome for outcome, _ in ours] for name, ours in found.items()})
    (options.output / "synthetic.md").write_text(text + "\n", encoding="utf-8")
    draw({name: ours[0][1] for name, ours in found.items()}, options.output / "synthetic.png")
    print(text)


def experiment(name: str, seed: int) -> tuple[Outcome, Picture]:
    """Train, score, trim by each detector, and train again."""
    from ogacli.config.commands import scan, train
    from ogacli.models.training.accuracy import trained_accuracy
    from ogacli.run.compare import scores_of

    with tempfile.TemporaryDirectory() as folder:
        config = configured(name, seed, Path(folder))
        checkpoint = train(config).checkpoints[-1]
        config = configured(name, seed, Path(folder), checkpoint)
        run = scan(config, output=Path(folder) / "run")
        scores = {one: torch.from_numpy(own) for one, own in scores_of(run).items()}
        samples, test = config.data.open(), config.test.open()
        assert samples.truth is not None
        wrong = samples.labels != samples.truth
        picture = Picture(
            samples.reader.read(range(len(samples)))[0],
            samples.labels,
            wrong,
            head_gradients(config, samples),
            scores,
        )

        def retrained(rows: Tensor) -> float:
            task, options = config.loss, config.train
            return trained_accuracy(samples.select(rows), test, config.model, task, options, seed=seed)

        n, k = len(samples), int(wrong.sum())
        generator = torch.Generator().manual_seed(seed)
        arms: dict[str, Tensor] = {
            NOTHING: torch.arange(n),
            ORACLE: (~wrong).nonzero()[:, 0],
            RANDOM: torch.randperm(n, generator=generator)[: n - k].sort().values,
        }
        detection = {}
        for one, own in scores.items():
            order = own.argsort(stable=True)
            arms[one] = order[: n - k].sort().values
            flagged = torch.zeros(n, dtype=torch.bool).index_fill(0, order[n - k :], True)
            detection[one] = float((flagged == wrong).float().mean())
        return Outcome(detection, {arm: retrained(rows) for arm, rows in arms.items()}), picture


def configured(name: str, seed: int, folder: Path, checkpoint: Path | None = None) -> Any:
    """The config of one seed."""
    from ogacli.config import parse_config

    own = {"source": "moons", "seed": seed} | SETS[name]
    kind = own["kind"]
    values: dict[str, Any] = {
        "data": own | {"split": "train"},
        "verify": {"test": own | {"split": "test"}},
        "model": {
            "source": "mlp",
            "hidden": HIDDEN[kind],
            "checkpoint": None if checkpoint is None else str(checkpoint),
        },
        "gradients": {"layers": "head", "device": "cpu"},
        "detector": [{"name": one} for one in DETECTORS],
        "budget": MISLABELLED[kind],
        "train": {
            "epochs": EPOCHS,
            "batch_size": 32,
            "learning_rate": 0.01,
            "seed": seed,
            "device": "cpu",
            "output": str(folder / "checkpoints"),
        },
    }
    return parse_config(yaml.safe_dump(values))


def head_gradients(config: Any, samples: Any) -> Tensor:
    """The gradient of each point's loss by the last layer, [n, p]."""
    import ogacli

    [snapshot] = config.model.snapshots(samples)
    return torch.cat([batch.dense() for batch in ogacli.gradients(samples, snapshot.source)])


def tables(found: dict[str, list[Outcome]]) -> str:
    """Means and deviations over the seeds."""
    return "\n\n".join(f"### {name}, {len(own)} seeds\n\n{table(own)}" for name, own in found.items())


def table(outcomes: list[Outcome]) -> str:
    """Of one set."""
    lines = [
        "| trimmed by | detection, % | test accuracy, % | against nothing trimmed |",
        "| --- | ---: | ---: | ---: |",
    ]
    for arm in outcomes[0].accuracy:
        detection = [100 * one.detection[arm] for one in outcomes if arm in one.detection]
        accuracies = [100 * one.accuracy[arm] for one in outcomes]
        gaps = [100 * (one.accuracy[arm] - one.accuracy[NOTHING]) for one in outcomes]
        shown = [spread(detection) if detection else "", spread(accuracies), spread(gaps, "+")]
        lines.append(f"| {' | '.join([arm, *shown])} |")
    return "\n".join(lines)


def spread(values: list[float], sign: str = "") -> str:
    """Mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.1f}{deviation}"


def draw(pictures: dict[str, Picture], path: Path) -> None:
    """A row a set: the points, their gradients, their scores."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    right, wrong, colours = "#9aa5b1", "#c1440e", ("#4361ee", "#0b6e4f")
    figure, panels = plt.subplots(len(pictures), 3, figsize=(11, 3.6 * len(pictures)), squeeze=False)
    for (name, own), row in zip(pictures.items(), panels, strict=True):
        for label, colour in enumerate(colours):
            mine = own.labels == label
            row[0].scatter(*own.points[mine].T, s=12, color=colour, label=f"label {label}")
        row[0].scatter(
            *own.points[own.wrong].T, s=60, facecolors="none", edgecolors=wrong, label="mislabelled"
        )
        row[0].set_title(f"{name}: points", fontsize=10)
        row[0].legend(fontsize=7, frameon=False)
        flat = in_plane(own.gradients)
        for mask, colour in ((~own.wrong, right), (own.wrong, wrong)):
            row[1].scatter(*flat[mask].T, s=12, color=colour)
        row[1].set_title("gradients, first two principal components", fontsize=10)
        for height, scores in enumerate(own.scores.values()):
            shares = scores.argsort().argsort() / (len(scores) - 1)
            for mask, colour, size in ((~own.wrong, right, 8), (own.wrong, wrong, 26)):
                row[2].scatter(shares[mask], [height] * int(mask.sum()), s=size, color=colour, marker="|")
        row[2].set_yticks(range(len(own.scores)), list(own.scores), fontsize=8)
        row[2].set_title("rank of the score (right: an outlier)", fontsize=10)
        for panel in row:
            panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def in_plane(rows: Tensor) -> Tensor:
    """The two directions in which rows differ most, [n, 2]."""
    centred = rows.double() - rows.double().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


if __name__ == "__main__":
    main()
