"""Every example config loads and, where its data is at hand, runs small."""

import os
import re
from pathlib import Path

import pytest
import yaml

from example_data import WRITERS
from ogacli.config import load_config
from ogacli.config.commands import attribute, scan, train

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
REAL = Path(os.environ.get("OGA_DATA", ROOT.parent / "shared" / "data"))
SMALL = [
    "data.limit={count: 80, seed: 0}",
    "data.workers=0",
    "train.epochs=1",
    "train.batch_size=16",
]


def test_there_are_examples():
    assert {"digits", "table", "image_folder"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = load_config(path)
    assert config.output is not None
    assert path.read_text().startswith("# "), "it says what it is for"
    lines = path.read_text().splitlines()
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_runs_small(path, tmp_path, monkeypatch):
    if path.stem == "cifar10n":
        if not (REAL / "cifar10n").is_dir():
            pytest.skip(f"no real data at {REAL}; set OGA_DATA")
        monkeypatch.setenv("OGA_DATA", str(REAL))
    written = WRITERS[path.stem](tmp_path) if path.stem in WRITERS else []
    overrides = [*written, *SMALL]
    values = yaml.safe_load(re.sub(r"\$\{[^}]*\}", "x", path.read_text()))
    if "train" in values:
        checkpoints = tmp_path / "checkpoints"
        training = train(
            load_config(path, [*overrides, "model.checkpoint=null", f"train.output={checkpoints}"])
        )
        overrides.append(f"model.checkpoint={training.checkpoints[-1]}")
    run = scan(load_config(path, overrides), output=tmp_path / "run")
    assert run.summary.samples == 80
    assert run.summary.quarantined == 0
    assert load_config(run.config_file).resolved == run.config
    if "query" in values:
        assert attribute(load_config(path, overrides), output=tmp_path / "asked").quarantined == 0
