"""Scans of samples with any number of classes, and of regressions: what is judged, counted and suggested."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.detectors._cells import Cells
from ogacli.errors import DataError
from ogacli.run.directory import Run
from ogacli.scan.collected.cells import DoubtfulCells

N, K = 600, 4


def scanned(folder: Path, data: dict, model: dict, loss: str, **more: object) -> Run:
    config = {
        "data": {"source": "arrays", "path": "data.npz", "y": "y", "truth": "truth", **data},
        "model": {"source": "precomputed", "held_out": True, **model},
        "loss": loss,
        "budget": "auto",
        "output": "run",
        **more,
    }
    (folder / "oga.yaml").write_text(yaml.safe_dump(config))
    return scan(load_config(folder / "oga.yaml"))


def write_sets(folder: Path) -> np.ndarray:
    """Six labels in a hundred are wrong; probabilities are those of the true classes."""
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-4 * rng.normal(size=(N, K))))
    truth = rng.random((N, K)) < p
    wrong = rng.random((N, K)) < 0.06
    np.savez(folder / "data.npz", y=(truth ^ wrong).astype(np.float32), truth=truth.astype(np.float32))
    np.save(folder / "p.npy", p)
    return wrong


def test_several_classes(tmp_path: Path) -> None:
    wrong = write_sets(tmp_path)
    names = ["ant", "bee", "cat", "dog"]
    run = scanned(tmp_path, {"classes": names}, {"probabilities": "p.npy"}, "bce_with_logits")
    summary = run.summary
    assert summary.detectors[0] == "latent_label_set"
    assert summary.estimate is not None
    assert summary.estimate.low <= wrong.any(1).mean() <= summary.estimate.high + 0.03
    assert summary.flagged == round(summary.estimate.share * N)
    issues = pq.read_table(run.path / "issues.parquet").to_pylist()
    doubted = [one for one in issues if one["probability"] > 0.5]
    right = [wrong[one["position"], names.index(one["cell"])] for one in doubted]
    assert np.mean(right) > 0.75
    assert all(one["suggested"] == 1 - one["given"] for one in issues)
    assert {one["reason"] for one in issues} == {"wrongly given", "forgotten"}
    counts = {one.name: sum(one.wrong.values()) for one in summary.cells}
    assert counts == {name: sum(one["cell"] == name for one in doubted) for name in names}
    for row in run.scores.to_pylist():
        cells = {one["cell"] for one in doubted if one["position"] == row["position"]}
        assert row["suggested_label"] == (sorted(set(row["label"]) ^ cells) if cells else None)


def test_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = 5 * rng.normal(size=N)
    y = truth + rng.normal(size=N)
    y[:60] = rng.permutation(y[:60])
    np.savez(tmp_path / "data.npz", y=y.astype(np.float32), truth=truth.astype(np.float32))
    np.save(tmp_path / "p.npy", truth[:, None])
    run = scanned(tmp_path, {"target": "regression"}, {"logits": "p.npy"}, "mse")
    assert run.summary.detectors[0] == "latent_target"
    flagged = run.scores.filter(run.scores["flagged"]).to_pylist()
    assert 20 < len(flagged) < 65
    assert np.mean([row["position"] < 60 for row in flagged]) > 0.9
    assert all(row["suggested_label"] == pytest.approx(truth[row["position"]], abs=1e-4) for row in flagged)
    assert {row["reason"] for row in flagged} <= {"mislabelled", "ambiguous"}
    assert pq.read_table(run.path / "issues.parquet").num_rows == N


def test_probabilities_of_several_classes_need_not_sum_to_one(tmp_path: Path) -> None:
    write_sets(tmp_path)
    np.save(tmp_path / "p.npy", np.full((N, K), 1.5))
    with pytest.raises(DataError, match=r"values from 0 to 1\n"):
        scanned(tmp_path, {"classes": list("abcd")}, {"probabilities": "p.npy"}, "bce_with_logits")


def test_cells_of_several_checkpoints_are_averaged() -> None:
    """Against a dense mean; cells that a checkpoint does not keep count as right."""
    generator = torch.Generator().manual_seed(0)
    totals = DoubtfulCells(5, 30, torch.device("cpu"))
    dense = torch.zeros(5, 30)
    rows = torch.arange(5)
    for weight in (1.0, 0.5, 2.0):
        wrong = torch.rand(5, 30, generator=generator)
        one = totals.emptied()
        one.set(rows, Cells(wrong, 1 - wrong, torch.zeros_like(wrong)))
        totals.add(one, rows, weight)
        kept = wrong.topk(16).indices
        dense += weight * torch.zeros_like(wrong).scatter(1, kept, wrong.gather(1, kept))
    found = totals.findings(torch.full((5,), 3.5))
    assert found is not None
    highest = found.wrong.max(1)
    assert torch.allclose(highest.values, (dense / 3.5).max(1).values, atol=1e-6)
    assert torch.equal(found.index.gather(1, highest.indices[:, None])[:, 0], dense.argmax(1))
