"""Where wrong labels follow the model's doubts, the margin ranks; elsewhere the label noise does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

import ogacli
from gradient_batches import dense_batch
from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.disagreement import Disagreement
from ogacli.detectors.label_noise.doubt import Doubt
from ogacli.detectors.label_noise.signals import Signals, fitted
from ogacli.detectors.latent_label import LatentLabel
from ogacli.models.sources.precomputed import PrecomputedSource
from simulated import predictions


def confused(n: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A weak model calibrated to labels whose noise follows doubt: the second class in place of the first."""
    logs, _, true = predictions(n, k, spread=5.0, seed=seed)
    p = logs.exp()
    first, second = p.topk(2, 1).indices.T
    near = (p.gather(1, second[:, None]) / p.gather(1, first[:, None]))[:, 0]
    generator = torch.Generator().manual_seed(seed + 1)
    moved = (true == first) & (torch.rand(n, generator=generator) < 0.5 * near)
    given = torch.where(moved, second, true)
    swapped = p.clone()
    rows, share = torch.arange(n), 0.5 * near * p[torch.arange(n), first]
    swapped[rows, first] -= share
    swapped[rows, second] += share
    return swapped.clamp_min(1e-12).log(), given, true


def margins(logs: Tensor, labels: Tensor) -> Tensor:
    own = logs.exp().gather(1, labels[:, None])
    return logs.exp().scatter(1, labels[:, None], 0).max(1).values - own[:, 0]


def scored(logs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, bool]:
    """The scores, the log-probabilities of the true class, and whether the margin ranks."""
    detector = LatentLabel().detector()
    both = torch.cat([logs, logs], 1)
    detector.refit(both, labels)
    true = detector.true_class(both, labels)
    again = LatentLabel().detector()
    again.restore(detector.state())
    torch.testing.assert_close(again.true_class(both, labels), true)
    return detector.wrong(true, labels), true, detector.doubt is not None


@pytest.mark.parametrize("k", [5, 10, 30])
def test_noise_that_follows_doubt_is_ranked_by_the_margin(k: int) -> None:
    logs, labels, truth = confused(4000, k)
    wrong, true, doubtful = scored(logs, labels)
    assert doubtful
    assert torch.equal(wrong.argsort(), margins(logs, labels).argsort())
    torch.testing.assert_close(true.exp().sum(1), torch.ones(len(labels), dtype=true.dtype))
    seen = Candidates.of(logs, labels)
    noise, _ = fitted(seen, held_out=True)
    before = 1 - noise.posterior_among(seen).gather(1, labels[:, None])[:, 0]
    # The probabilities are the same; only their order is another.
    assert float(wrong.mean()) == pytest.approx(float(before.mean()), abs=0.005)
    found = labels != truth
    assert average_precision_score(found, wrong) > average_precision_score(found, before)


def signals(k: int, *, near_ties: float, lapses: float, sharpness: float, gain: float = 0.0) -> Signals:
    """Of 4,000 held-out predictions, of which a fifth differ from the label."""
    own = Disagreement(4000, 0.2, near_ties, lapses, lapses, lapses, 1 / k, 0.7, 1.0)
    return Signals(k, own, None, sharpness, True, gain)


def test_without_lapses_the_noise_may_follow_the_doubts_of_a_strong_model() -> None:
    """It has as few near ties as one that has learned how people err on each sample, which has lapses."""
    strong = signals(10, near_ties=0.25, lapses=0.02, sharpness=1.25)
    assert strong.flat
    assert strong.doubtful
    assert not signals(10, near_ties=0.25, lapses=0.1, sharpness=1.25).doubtful
    assert not signals(10, near_ties=0.25, lapses=0.02, sharpness=1.65).doubtful
    assert not signals(10, near_ties=0.5, lapses=0.02, sharpness=1.25).doubtful
    assert signals(10, near_ties=0.5, lapses=0.02, sharpness=1.25, gain=-5.0).doubtful
    assert not signals(10, near_ties=0.5, lapses=0.02, sharpness=1.2, gain=5.0).doubtful
    assert not replace(strong, held_out=False).doubtful


def test_the_sharpness_of_two_classes_shows_nothing_without_lapses() -> None:
    assert signals(2, near_ties=0.5, lapses=0.03, sharpness=3.2).doubtful
    assert not signals(2, near_ties=0.5, lapses=0.1, sharpness=3.2).doubtful
    assert not signals(2, near_ties=0.5, lapses=0.03, sharpness=3.2, gain=5.0).doubtful


@pytest.mark.parametrize(("k", "noise"), [(10, "uniform"), (10, "pairs"), (2, "uniform")])
@pytest.mark.parametrize("spread", [5.0, 20.0])
def test_noise_that_depends_on_the_class_is_not(k: int, noise: str, spread: float) -> None:
    logs, labels, _ = predictions(4000, k, spread=spread, noise=noise, share=0.1)
    _, signals = fitted(Candidates.of(logs, labels), held_out=True)
    assert not signals.doubtful
    assert not fitted(Candidates.of(logs, labels), held_out=False)[1].doubtful


@pytest.mark.parametrize("times", [2.0, 4.0])
@pytest.mark.parametrize(("noise", "lost"), [("uniform", 0.02), ("pairs", 0.13)])
def test_models_that_are_too_sure_are_calibrated_first(noise: str, lost: float, times: float) -> None:
    """A model that was trained too long is not taken for one whose doubts the noise follows.

    It is calibrated to the given labels, by which noise of pairs makes it less sure than it should be.
    """
    logs, labels, truth = predictions(4000, 10, spread=5.0, noise=noise, share=0.1)
    _, calibrated, _ = scored(logs, labels)
    _, found, doubtful = scored((times * logs).log_softmax(1), labels)
    assert not doubtful
    wrong = (labels != truth).numpy()
    best, own = (
        average_precision_score(wrong, 1 - each.exp().gather(1, labels[:, None])[:, 0])
        for each in (calibrated, found)
    )
    assert own > best - lost


def test_a_scan_of_held_out_probabilities_ranks_by_it(tmp_path: Path) -> None:
    logs, labels, _ = confused(1500, 10)
    np.save(tmp_path / "p.npy", logs.exp().numpy())
    source = PrecomputedSource(probabilities=str(tmp_path / "p.npy"), held_out=True)
    samples = ogacli.Samples.of(logs.float(), labels=labels, classes=10)
    found = ogacli.scan(samples, source, detector="latent_label").verdict.score
    both = torch.stack([found, margins(logs, labels)])
    assert float(torch.corrcoef(both.argsort(1).argsort(1).double())[0, 1]) > 0.999


def test_many_classes_and_neighbours_are_ranked_by_the_pooled_margin() -> None:
    logs, labels, _ = confused(2000, 150)
    near = logs + 0.1 * torch.randn(logs.shape, generator=torch.Generator().manual_seed(0))
    seen = Candidates.of(logs, labels).with_neighbours(near)
    noise, _ = fitted(seen, held_out=True)
    doubt = Doubt.fitted(noise, seen)
    true = noise.posterior(logs, labels, near)
    found = doubt.applied(true, logs.to(true.dtype), near.to(true.dtype), labels)
    wrong = 1 - found.exp().gather(1, labels[:, None])[:, 0]
    pooled = (logs + noise.trust * (near - logs)).log_softmax(1)
    both = torch.stack([wrong.double(), margins(pooled, labels)])
    assert float(torch.corrcoef(both.argsort(1).argsort(1).double())[0, 1]) > 0.99


def test_a_batch_is_scored_as_its_evidence_is() -> None:
    logs, labels, _ = confused(4000, 10)
    detector = LatentLabel().detector()
    detector.held_out = True
    batch = dense_batch(logs, labels)
    detector.fit([batch])
    assert detector.doubt is not None
    by_evidence = detector.wrong(detector.true_class(detector.evidence(batch), labels), labels)
    torch.testing.assert_close(detector.score(batch), by_evidence)
