from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from gradient_batches import dense_batch
from ogacli.config.commands import scan
from ogacli.config.folds import folded
from ogacli.detectors import LabelDetector, detectors
from ogacli.gradients import GradientBatch
from ogacli.models.tasks.classification import Classification
from ogacli.scan.collected.collect import Collector
from ogacli.scan.scorers import Scored
from small_scans import make_place
from synthetic_runs import Recipe

CPU = torch.device("cpu")
N, K = 60, 4


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(1)
    return Recipe(n=N, labels=torch.randint(K, (N,), generator=generator).tolist())._samples()


def two_folds(samples):
    """Two folds whose logits are on other scales; returns what was collected, and all logits."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(N, K, generator=generator)
    logits[torch.arange(N), samples.labels] += 3
    logits[: N // 2] *= 0.3
    collector = Collector(samples, ("latent_label", "l2"), CPU, evidence_of=("latent_label",))
    for rows in torch.arange(N).tensor_split(2):
        batch = replace(dense_batch(logits[rows], samples.labels[rows]), rows=rows)
        evidence = {"latent_label": latent().evidence(batch)}
        collector.add(
            batch, Scored([torch.zeros(len(rows)), batch.norm(2)], evidence, None), Classification()
        )
        collector.next_checkpoint(rows, 1.0)
    return collector, logits


def latent():
    return detectors.get("latent_label")().detector()


def test_folds_are_judged_as_one_model(samples):
    collector, logits = two_folds(samples)
    findings = collector.findings()
    torch.testing.assert_close(collector.evidence.values[0, :, :K], logits.log_softmax(1))
    found = collector.evidence.judged(findings, samples, {"latent_label": latent()})
    whole = latent()
    whole.fit([dense_batch(logits, samples.labels)])
    expected = whole.score(dense_batch(logits, samples.labels))
    torch.testing.assert_close(found.scores["latent_label"], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.scores["l2"], findings.scores["l2"])


def test_quarantined_samples_stay_without_a_score(samples):
    collector, _ = two_folds(samples)
    findings = collector.findings()
    findings.scores["latent_label"][7] = torch.nan
    judged = collector.evidence.judged(findings, samples, {"latent_label": latent()})
    found = judged.scores["latent_label"]
    assert found.isnan().nonzero().flatten().tolist() == [7]
    assert len(found[~found.isnan()].unique()) > N / 2


def test_too_much_evidence_is_not_kept(samples, monkeypatch):
    monkeypatch.setattr(import_module("ogacli.scan.collected.evidence"), "_BYTES", 8 * N * K - 1)
    collector, _ = two_folds(samples)
    findings = collector.findings()
    assert collector.evidence.values.numel() == 0
    assert collector.evidence.judged(findings, samples, {"latent_label": latent()}) == findings


def test_which_detectors_look_at_answers_only():
    others = [name for name in detectors.names() if name != "pyod"]
    found = {name for name in others if isinstance(detectors.get(name)().detector(), LabelDetector)}
    assert found == {"latent_label", "latent_consensus"}


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
        assert detector.neighbours is not None
        answers[rows] = detector.evidence(batch).float()
    whole = latent()
    whole.refit(answers, samples.labels)
    true = whole.true_class(answers, samples.labels)
    expected = whole.wrong(true, samples.labels)
    np.testing.assert_allclose(run.scores["score"].to_numpy(), expected.numpy(), rtol=1e-3, atol=1e-6)
    assert run.summary.estimate.by == "held out"
    best = [samples.classes[i] for i in true.argmax(1)]
    differs = [
        name if name != given else None
        for name, given in zip(best, run.scores["label"].to_pylist(), strict=True)
    ]
    assert run.scores["suggested_label"].to_pylist() == differs
