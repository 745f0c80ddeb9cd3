"""Samples of several classes, and of numbers, of which the first have a wrong label, with predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.run.directory import Run

N, WRONG = 400, 24
"""Samples, of which the first have a wrong label, which the predictions show clearly."""
NAMES = ("ant", "bee", "cat")
REGRESSION = {"source": "table", "features": ["size"], "target": "regression"}


def scanned(folder: Path, data: dict[str, Any], outputs: dict[str, str], loss: str, **more: Any) -> Run:
    section = {name: value for name, value in {"id": "key", **data}.items() if value is not None}
    config = {
        "data": section,
        "model": {"source": "precomputed", "held_out": True, **outputs},
        "loss": loss,
        "budget": WRONG,
        **more,
    }
    return scan(parse_config(yaml.safe_dump(config), base=folder), output=folder / "run")


def sets(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """0 and 1 for each class, given and true, and the probabilities of a good model."""
    rng = np.random.default_rng(0)
    truth = rng.random((N, 3)) < 0.4
    logits = np.where(truth, 1, -1) * rng.uniform(1, 9, (N, 3))
    logits[:WRONG] = np.where(truth[:WRONG], 9, -9)
    p = 1 / (1 + np.exp(-logits))
    given = truth.copy()
    given[np.arange(WRONG), np.arange(WRONG) % 3] ^= True
    np.save(folder / "p.npy", p)
    return given, truth


def shown(row: np.ndarray) -> str:
    return ", ".join(name for name, on in zip(NAMES, row, strict=True) if on)


def numbers(folder: Path, targets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Targets with two decimal places, of which the first ones belong to other samples; and predictions."""
    rng = np.random.default_rng(0)
    truth = np.round(rng.normal(50, 20, (N, targets)), 2)
    given = truth.copy()
    given[:WRONG] = np.round(truth[:WRONG] + rng.choice([-1, 1], (WRONG, targets)) * 60, 2)
    predictions = truth + rng.normal(0, 1, (N, targets))
    np.save(folder / "f.npy", predictions.astype(np.float32))
    return given, predictions.astype(np.float32)
