"""Small datasets with a network, as files and a config, for tests of whole commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from ogacli.base.seeding import seeded
from ogacli.config import Config, load_config
from ogacli.models.checkpoints import save_weights
from ogacli.models.sources import Fit

N, H, K, WIDTH = 120, 5, 3, 6
"""Samples, values of a sample, classes, features of a sample."""


@dataclass(frozen=True)
class Place:
    """A folder with ``data.npz``, ``weights.safetensors`` and ``config.yaml``."""

    folder: Path

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    def config(self, *overrides: str) -> Config:
        return load_config(self.config_file, overrides)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / "data.npz"))

    def write(self, **arrays: Any) -> None:
        """Put other arrays in the place of some."""
        np.savez(self.folder / "data.npz", **(self.arrays | arrays))

    def write_config(self, **sections: Any) -> None:
        """Put other sections in the place of some; None takes one out."""
        values = yaml.safe_load(self.config_file.read_text()) | sections
        values = {name: value for name, value in values.items() if value is not None}
        self.config_file.write_text(yaml.safe_dump(values, sort_keys=False))

    def new_weights(self, seed: int = 0, *overrides: str) -> None:
        """A checkpoint for the network that the config describes, as drawn."""
        config = self.config(*overrides)
        with seeded(seed, torch.device("cpu")):
            module = config.model.build(Fit.of(config.data.open()))
        save_weights(module, self.folder / "weights.safetensors")

    def network(self) -> tuple[nn.Module, nn.Linear]:
        """The network with its weights, and its head."""
        config = self.config()
        module = config.model.network(Fit.of(config.data.open())).eval()
        return module, module.head


def make_place(folder: Path, *, n: int = N, detector: Any = "l2", seed: int = 0) -> Place:
    """Blobs, a tenth of them under a wrong label (the true one is known), and an untrained MLP."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, n)
    x = rng.normal(size=(n, H)).astype(np.float32)
    x[np.arange(n), truth] += 3
    y = np.where(np.arange(n) % 10 == 0, (truth + 1) % K, truth)
    place = Place(folder)
    np.savez(folder / "data.npz", x=x, y=y, truth=truth)
    config = {
        "data": {"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "truth": "truth"},
        "model": {"source": "mlp", "hidden": [WIDTH], "checkpoint": "weights.safetensors"},
        "detector": detector,
        "budget": 0.1,
        "output": "run",
    }
    place.config_file.write_text(yaml.safe_dump(config, sort_keys=False))
    place.new_weights(0, "model.checkpoint=null")
    return place


def contents(folder: Path, leave_out: Sequence[str] = ()) -> dict[str, bytes]:
    """The files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leave_out
    }
