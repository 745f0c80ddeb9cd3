"""Training on masks, which are read with the pictures."""

from pathlib import Path

import pytest
import yaml

from ogacli.config import Config, parse_config
from ogacli.config.commands import train
from ogacli.errors import ConfigError
from small_masks import write_masks

HERE = str(Path(__file__).parents[2])


def config(folder: Path, **train: object) -> Config:
    sections = {
        "data": write_masks(folder / "set"),
        "model": {
            "source": "python",
            "factory": "small_masks:Pixels",
            "folder": str(Path(__file__).parents[2]),
        },
        "loss": "pixel_cross_entropy",
        "train": {"epochs": 8, "batch_size": 8, "learning_rate": 0.05, "seed": 0} | train,
        "output": "run",
    }
    return parse_config(yaml.safe_dump(sections), base=folder)


def test_the_loss_falls(tmp_path: Path) -> None:
    history = train(config(tmp_path)).document()["epochs"]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


def test_pictures_cannot_be_moved_without_their_masks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.augment: masks would not move with their pictures"):
        train(config(tmp_path, augment=True))
