"""How right the time left is that a scan tells: pictures, texts, sorted texts, folds, exported rows.

    python benchmarks/pace.py [KIND ...] [--repeats 3] [--keep FILE]

Of each step that takes over a second: the time left as told after a tenth of its time, beside what it took
then, and the largest error from then on until nine tenths. Time is processor time of the only process, one
thread, as other work on the machine would be measured instead. With ``--keep`` the reports of all steps are
written to a file: seconds, and how much of the work was done.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from ogacli.base.pace import Pace
from ogacli.base.progress import Advance, Silent
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.models.checkpoints import save_weights
from ogacli.models.sources import Fit

LEAST = 1.0
"""Seconds of the steps that are told."""


class Recorded(Silent):
    """Records each step: its work, and the time and the work of each report."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float, list[tuple[float, float]]]] = []

    @contextmanager
    def bar(self, description: str, total: int, *, work: float | None = None) -> Iterator[Advance]:
        """A step."""
        reports: list[tuple[float, float]] = []
        began = time.process_time()

        def advance(count: int, done: float | None = None, /) -> None:
            reports.append((time.process_time() - began, float(count) if done is None else done))

        try:
            yield advance
        finally:  # a step whose last samples are not needed is left early
            # Steps may have one name: each detector is fitted.
            self.steps.append((description, float(total) if work is None else work, reports))


def told(work: float, reports: list[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """For each report: the time, the time left as told, and what was left."""
    now = 0.0
    found = Pace(work, lambda: now)
    end, rows = reports[-1][0], []
    for now, done in reports:
        found.advance(done)
        if found.left is not None:
            rows.append((now, found.left, end - now))
    return rows


def pictures(folder: Path) -> dict[str, Any]:
    """3,000 pictures through all layers of a small ResNet."""
    random = np.random.default_rng(0)
    for i in range(3_000):
        path = folder / "pictures" / ("cat", "dog")[i % 2] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    config = {
        "data": {"source": "image_folder", "root": "pictures", "workers": 0},
        "model": {"source": "resnet_cifar", "depth": 8},
        "gradients": {"layers": "all"},
        "detector": ["isolation_forest", "latent_label"],
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    untrained = load_config(folder / "c.yaml")
    save_weights(untrained.model.build(Fit.of(untrained.data.open())), folder / "w.safetensors")
    return config | {"model": {"source": "resnet_cifar", "depth": 8, "checkpoint": "w.safetensors"}}


def folds(folder: Path) -> dict[str, Any]:
    """The same pictures by three networks, each trained four epochs on two thirds of them."""
    return pictures(folder) | {
        "model": {"source": "resnet_cifar", "depth": 8},
        "train": {"epochs": 4, "batch_size": 64, "output": "checkpoints"},
    }


def texts(folder: Path, *, by_length: bool = False) -> dict[str, Any]:
    """800 texts of very different length through all layers of a small BERT."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = [f"w{i}" for i in range(500)]
    (folder / "net").mkdir()
    (folder / "net/vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizerFast(str(folder / "net/vocab.txt")).save_pretrained(folder / "net")
    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
    torch.manual_seed(0)
    network = BertForSequenceClassification(BertConfig(vocab_size=505, max_position_embeddings=512, **sizes))
    network.save_pretrained(folder / "net")
    random = np.random.default_rng(0)
    with open(folder / "t.jsonl", "w", encoding="utf-8") as file:
        lengths = np.clip(random.lognormal(3.5, 0.9, 800), 3, 400).astype(int)
        for i, length in enumerate(np.sort(lengths) if by_length else lengths):
            row = {"text": " ".join(random.choice(words, length)), "label": ("bad", "good")[i % 2]}
            file.write(json.dumps(row) + "\n")
    return {
        "data": {"source": "text", "path": "t.jsonl", "text": "text", "label": "label"},
        "model": {"source": "transformers", "name": "net"},
        "gradients": {"layers": ["head", "*layer.3*"]},
        "detector": ["l2", "isolation_forest"],
    }


def sorted_texts(folder: Path) -> dict[str, Any]:
    """The same texts, the shortest first in the file."""
    return texts(folder, by_length=True)


def exported(folder: Path) -> dict[str, Any]:
    """200,000 rows of probabilities and features of another framework."""
    random = np.random.default_rng(0)
    n, k, h = 200_000, 10, 64
    logits = random.normal(size=(n, k)).astype(np.float32)
    np.save(folder / "logits.npy", logits)
    np.save(folder / "h.npy", random.normal(size=(n, h)).astype(np.float32))
    np.save(folder / "y.npy", random.integers(0, k, n))
    return {
        "data": {"source": "arrays", "y": "y.npy"},
        "model": {"source": "precomputed", "logits": "logits.npy", "features": "h.npy"},
        "detector": ["isolation_forest", "latent_label"],
    }


KINDS = {one.__name__: one for one in (pictures, texts, sorted_texts, folds, exported)}


def main() -> None:
    """Scan, and tell how right the time left was."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("kinds", nargs="*", default=list(KINDS))
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--keep", type=Path)
    given = asked.parse_args()
    torch.set_num_threads(1)
    kept = []
    print("| scan | step | seconds | told after a tenth | left | error | largest error until nine tenths |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            config = KINDS[kind](folder) | {"budget": 0.1}
            (folder / "c.yaml").write_text(yaml.safe_dump(config))
            for i in range(given.repeats):
                seen = Recorded()
                scan(
                    load_config(folder / "c.yaml"),
                    output=folder / f"run{i}",
                    folds=3 if kind == "folds" else None,
                    overwrite=True,
                    progress=seen,
                )
                for step, work, reports in seen.steps:
                    end = reports[-1][0] if reports else 0.0
                    if end < LEAST:
                        continue
                    kept.append({"scan": kind, "step": step, "work": work, "reports": reports})
                    rows = [row for row in told(work, reports) if 0.1 * end <= row[0] <= 0.9 * end]
                    if not rows:
                        print(f"| {kind} | {step} | {end:.1f} | nothing, as there were too few reports ||||")
                        continue
                    _, first, left = rows[0]
                    errors = [abs(one / other - 1) for _, one, other in rows]
                    print(
                        f"| {kind} | {step} | {end:.1f} | {first:.1f} | {left:.1f} | {errors[0]:.1%} "
                        f"| {max(errors):.1%} |",
                        flush=True,
                    )
    if given.keep is not None:
        given.keep.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
