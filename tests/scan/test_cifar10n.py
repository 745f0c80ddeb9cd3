"""The example of real human label noise, small: train on it, scan it, trim it."""

import os
from pathlib import Path

import pyarrow.parquet
import pytest

from ogacli.base.tables import read_table
from ogacli.config import load_config
from ogacli.config.commands import scan, train
from ogacli.run.trim import trim

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("OGA_DATA", ROOT.parent / "shared" / "data")).absolute()
SAMPLES = 2000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (REAL / "cifar10n").is_dir(), reason=f"no cifar10n at {REAL}; set OGA_DATA"),
]


def test_wrong_human_labels_score_higher(tmp_path, monkeypatch):
    monkeypatch.setenv("OGA_DATA", str(REAL))
    overrides = [f"data.limit={SAMPLES}", f"train.output={tmp_path / 'checkpoints'}", "train.batch_size=32"]
    training = train(load_config(ROOT / "configs" / "cifar10n.yaml", [*overrides, "model.checkpoint=null"]))
    assert training.epochs[-1].loss < training.epochs[0].loss

    overrides.append(f"model.checkpoint={training.checkpoints[-1]}")
    run = scan(load_config(ROOT / "configs" / "cifar10n.yaml", overrides), output=tmp_path / "run")
    summary = run.summary
    assert (summary.samples, summary.quarantined, summary.flagged) == (SAMPLES, 0, SAMPLES // 5)
    wrong = pyarrow.parquet.read_table(run.path / "scores.parquet", columns=["label", "truth"])
    share = sum(row["label"] != row["truth"] for row in wrong.to_pylist()) / SAMPLES
    assert share == pytest.approx(0.4, abs=0.05)
    assert summary.diagnosis.fit < 0.6, "it has not memorised the wrong labels"
    for name, found in summary.evaluation.items():
        assert found.auroc > 0.56, name
        assert found.precision_at_budget > 0.5, name

    trimmed = trim(run, manifest=tmp_path / "clean.csv")
    assert trimmed.fates["dropped"] == SAMPLES // 5
    fates = read_table(tmp_path / "clean.csv").column("fate").to_pylist()
    assert fates.count("kept") == SAMPLES - SAMPLES // 5
