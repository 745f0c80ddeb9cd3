"""Interruptions in the places between batches: nothing is lost, and nothing is scored twice or otherwise."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interruptions import whole_and_resumed
from ogacli.config.commands import scan, train
from ogacli.config.folds import folded
from ogacli.scan.collected.evidence import Evidence
from ogacli.scan.passes import CheckpointPass
from ogacli.scan.scoring import Scoring
from small_scans import Place, make_place

SIZE = "gradients.batch_size=16"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is saved after each batch."""
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SHARE", 0)


@pytest.mark.parametrize("call", [2, 6])
def test_between_the_evidence_and_the_scores_of_a_batch(place, monkeypatch, call):
    """A sample without evidence is not done, so that all folds are still fitted as one."""
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    place.write_config(detector="latent_label")
    config = folded(place.config(SIZE, "train.epochs=2"), 2)
    whole_and_resumed(place, config, monkeypatch, Evidence, "add", call)


@pytest.mark.parametrize("name", ["score_again", "finish", "score", "see_neighbours"])
def test_a_trajectory_in_lower_precision(place, monkeypatch, often, name):
    """The counts of the second pass are those of all checkpoints."""
    train(place.config("train={epochs: 3, batch_size: 16}", f"train.output={place.folder}/epochs"))
    pattern = f"model.checkpoint={place.folder}/epochs/epoch-*.safetensors"
    config = place.config(SIZE, pattern, "gradients.precision=bfloat16")
    cls, call = (Scoring, 25) if name == "score" else (CheckpointPass, 2)
    whole, _ = whole_and_resumed(place, config, monkeypatch, cls, name, call)
    assert whole.summary.rescored.samples > 3 * 32


def test_samples_that_the_first_checkpoint_could_not_score(place, monkeypatch, often):
    """The second checkpoint is fitted to batches of the same samples as without an interruption."""
    place.write_config(detector={"name": "isolation_forest", "trees": 10, "subsample": 32})
    x = place.arrays["x"]
    x[::9] = np.inf
    place.write(x=x)
    train(place.config("train={epochs: 2, batch_size: 16}", f"train.output={place.folder}/epochs"))
    config = place.config(SIZE, f"model.checkpoint={place.folder}/epochs/epoch-*.safetensors")
    whole_and_resumed(place, config, monkeypatch, CheckpointPass, "see_neighbours", 2)


def test_while_the_unfinished_scan_is_removed(place, monkeypatch, often):
    """A folder that is removed in part does not stop the next scan."""
    rmtree = shutil.rmtree

    def stopped(path: Any, *arguments: Any, **options: Any) -> None:
        if ".out.partial-" in str(path) and (path / "new" / "oga.json").exists():
            raise KeyboardInterrupt
        rmtree(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            scan(place.config(), output=place.folder / "out")
    assert not (place.folder / "out.partial").exists()
    assert scan(place.config(), output=place.folder / "out", resume=True, overwrite=True).summary.scored
