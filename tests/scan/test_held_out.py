from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from gradient_batches import dense_batch
from ogacli.detectors import Answering, detectors
from ogacli.gradients import GradientBatch
from ogacli.models.training.folds import folded
from ogacli.scan import scan
from ogacli.scan.collect import Collector, Gathered
from ogacli.scan.held_out import HeldOut
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
        collector = Collector(N, ("latent_label", "l2"), CPU)
        collector.add(batch, [torch.zeros(len(rows)), batch.norm(2)], categorical=True)
        held_out.see(rows, {"latent_label": latent().answers(batch)})
        gathered.add(collector, rows)
    return gathered.findings(), logits


def latent():
    return detectors.get("latent_label")().detector()


def held(k=K):
    return HeldOut(N, k, ("latent_label",), CPU)


def test_folds_are_judged_as_one_model(samples):
    held_out = held()
    findings, logits = two_folds(samples, held_out)
    torch.testing.assert_close(held_out.answers[0, :, :K], logits.log_softmax(1))
    found = held_out.judged(findings, samples, {"latent_label": latent()})
    whole = latent()
    whole.fit([dense_batch(logits, samples.labels)])
    expected = whole.score(dense_batch(logits, samples.labels))
    torch.testing.assert_close(found.scores["latent_label"], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.scores["l2"], findings.scores["l2"])


def test_quarantined_samples_stay_without_a_score(samples):
    held_out = held()
    findings, _ = two_folds(samples, held_out)
    findings.scores["latent_label"][7] = torch.nan
    found = held_out.judged(findings, samples, {"latent_label": latent()}).scores["latent_label"]
    assert found.isnan().nonzero().flatten().tolist() == [7]
    assert len(found[~found.isnan()].unique()) > N / 2


def test_too_many_answers_are_not_kept(samples, monkeypatch):
    monkeypatch.setattr(import_module("ogacli.scan.held_out"), "_BYTES", 8 * N * K - 1)
    held_out = held()
    findings, _ = two_folds(samples, held_out)
    assert held_out.answers.numel() == 0
    assert held_out.judged(findings, samples, {"latent_label": latent()}) == findings


def test_which_detectors_look_at_answers_only():
    others = [name for name in detectors.names() if name != "pyod"]
    found = {name for name in others if isinstance(detectors.get(name)().detector(), Answering)}
    assert found == {"latent_label"}


def test_a_scan_of_folds_has_the_scores_of_all_folds_at_once(tmp_path):
    """Those of the same answers as if one model had given them; neighbours are those of the fold."""
    place = make_place(tmp_path, detector=["latent_label", "l2"])
    config = folded(place.config("train.epochs=2"), 3)
    run = scan(config, output=tmp_path / "folds")
    samples = config.data.open()
    answers = torch.empty(len(samples), 2 * len(samples.classes))
    for snapshot in config.model.snapshots(samples):
        rows = snapshot.rows
        outputs = snapshot.source.load(samples).outputs(samples.read(rows.tolist()))
        batch = GradientBatch(
            rows, samples.labels[rows], outputs.logits, outputs.logits, outputs.features, []
        )
        detector = latent()
        detector.fit([batch])
        assert detector.neighbourhood is not None
        answers[rows] = detector.answers(batch).float()
    whole = latent()
    whole.refit(answers, samples.labels)
    beliefs = whole.beliefs(answers, samples.labels)
    expected = whole.judge(beliefs, samples.labels)
    np.testing.assert_allclose(run.scores["score"].to_numpy(), expected.numpy(), rtol=1e-3, atol=1e-6)
    assert run.summary.estimate.by == "held out"
    best = [samples.classes[i] for i in beliefs.argmax(1)]
    differs = [
        name if name != given else None
        for name, given in zip(best, run.scores["label"].to_pylist(), strict=True)
    ]
    assert run.scores["suggested_label"].to_pylist() == differs
