from dataclasses import replace

import numpy as np
import pytest
import torch

from gradient_batches import dense_batch
from ogacli.detectors import Answering, detectors
from ogacli.findings import Collector, Gathered
from ogacli.folds import folded
from ogacli.held_out import HeldOut, wants_answers
from ogacli.scan import scan
from small_scans import make_place
from synthetic_runs import Recipe

CPU = torch.device("cpu")
N, K = 60, 4


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(1)
    return Recipe(n=N, labels=torch.randint(K, (N,), generator=generator).tolist())._samples()


def two_folds(samples, held_out):
    """Two folds whose answers are on other scales; returns the findings, and all logits."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(N, K, generator=generator)
    logits[torch.arange(N), samples.labels] += 3
    logits[: N // 2] *= 0.3
    gathered = Gathered(N, ("latent_label", "l2"), CPU)
    for rows in torch.arange(N).tensor_split(2):
        batch = replace(dense_batch(logits[rows], samples.labels[rows]), rows=rows)
        collector = Collector(N, ("latent_label", "l2"), CPU, held_out)
        collector.add(batch, [torch.zeros(len(rows)), batch.norm(2)], categorical=True)
        gathered.add(collector, rows)
    return gathered.findings(), logits


def options(*names):
    return {name: detectors.get(name)() for name in names}


def test_folds_are_judged_as_one_model(samples):
    held_out = HeldOut(N, K, CPU)
    findings, logits = two_folds(samples, held_out)
    torch.testing.assert_close(held_out.logits, logits)
    found = held_out.judged(findings, samples, options("latent_label", "l2"))
    whole = detectors.get("latent_label")().detector()
    whole.fit([dense_batch(logits, samples.labels)])
    expected = whole.score(dense_batch(logits, samples.labels))
    torch.testing.assert_close(found.scores["latent_label"], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.scores["l2"], findings.scores["l2"])


def test_quarantined_samples_stay_without_a_score(samples):
    held_out = HeldOut(N, K, CPU)
    findings, _ = two_folds(samples, held_out)
    findings.scores["latent_label"][7] = torch.nan
    found = held_out.judged(findings, samples, options("latent_label", "l2")).scores["latent_label"]
    assert found.isnan().nonzero().flatten().tolist() == [7]
    assert len(found[~found.isnan()].unique()) > N / 2


def test_too_many_answers_are_not_kept(samples, monkeypatch):
    monkeypatch.setattr("ogacli.held_out._BYTES", 4 * N * K - 1)
    held_out = HeldOut(N, K, CPU)
    findings, _ = two_folds(samples, held_out)
    assert held_out.logits.numel() == 0
    assert held_out.judged(findings, samples, options("latent_label", "l2")) is findings


def test_which_detectors_look_at_answers_only():
    found = {name for name in detectors.names() if name != "pyod" and wants_answers([detectors.get(name)()])}
    assert found == {"latent_label"}
    assert isinstance(detectors.get("latent_label")().detector(), Answering)


def test_a_scan_of_folds_has_the_scores_of_all_folds_at_once(tmp_path):
    """Those of the same answers as if one model had given them."""
    place = make_place(tmp_path, detector=["latent_label", "l2"])
    config = folded(place.config("train.epochs=2"), 3)
    run = scan(config, output=tmp_path / "folds")
    samples = config.data.open()
    logits = torch.empty(len(samples), len(samples.classes))
    for snapshot in config.model.snapshots(samples):
        network = snapshot.source.load(samples)
        logits[snapshot.rows] = network.outputs(samples.read(snapshot.rows.tolist())).logits
    detector = detectors.get("latent_label")().detector()
    expected = detector.judge(logits, samples.labels)
    np.testing.assert_allclose(run.scores["score"].to_numpy(), expected.numpy(), rtol=1e-3, atol=1e-6)
    assert run.summary.estimate.by == "held out"
