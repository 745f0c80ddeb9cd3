"""Of two classes, a prior that the model has missed and noise of one class are hard to tell apart."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.signals import Signals, fitted
from ogacli.detectors.latent_label import LatentLabel


def held_out(
    apart: float, rare: float, seed: int, flipped: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Two Gaussians with wrong labels, predicted by logistic regression: log-probabilities, labels, truth."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(3000) < rare).astype(np.int64)
    x = rng.normal(size=(3000, 4)) + apart * (truth[:, None] - 0.5)
    labels = np.where(rng.random(3000) < np.array(flipped)[truth], 1 - truth, truth)
    p = cross_val_predict(LogisticRegression(), x, labels, cv=4, method="predict_proba")
    logs = torch.from_numpy(p).clamp_min(1e-12).log()
    return logs, torch.from_numpy(labels), torch.from_numpy(truth)


def precisions(logs: Tensor, labels: Tensor, truth: Tensor) -> tuple[float, float]:
    """Average precision of the detector, and of the probability of the given label."""
    detector, both = LatentLabel().detector(), torch.cat([logs, logs], 1)
    detector.refit(both, labels)
    wrong = (labels != truth).numpy()
    scores = detector.wrong(detector.true_class(both, labels), labels), -logs.gather(1, labels[:, None])[:, 0]
    own, plain = (float(average_precision_score(wrong, one.numpy())) for one in scores)
    return own, plain


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_of_one_class_are_found_as_such(seed: int) -> None:
    logs, labels, truth = held_out(2.0, 0.5, seed, (0.0, 0.4))
    noise, _ = fitted(Candidates.of(logs, labels), held_out=True)
    right = noise.transition.right
    assert float(right[0] - right[1]) > 0.2
    own, plain = precisions(logs, labels, truth)
    assert own > plain + 0.1


@pytest.mark.parametrize("apart", [0.8, 2.0])
@pytest.mark.parametrize("rare", [0.5, 0.15])
def test_the_same_share_of_both_classes_is_not_taken_for_noise_of_one(apart: float, rare: float) -> None:
    for seed in range(3):
        logs, labels, truth = held_out(apart, rare, seed, (0.2, 0.2))
        noise, _ = fitted(Candidates.of(logs, labels), held_out=True)
        assert float(noise.transition.right[0]) == pytest.approx(float(noise.transition.right[1]), abs=1e-6)
        own, plain = precisions(logs, labels, truth)
        assert own > plain - 0.004


@pytest.mark.parametrize(("rare", "apart"), [(0.1, 0.75), (0.2, 0.4)])
def test_a_rare_class_with_noise_at_its_border_does_not_turn_the_ranking_round(
    rare: float, apart: float
) -> None:
    """A likelihood that is free to blame one class blames the wrong one, which costs most precision."""
    rng = np.random.default_rng(0)
    truth = (rng.random(3000) < rare).astype(np.int64)
    x = rng.normal(size=(3000, 4)) + apart * (truth[:, None] - 0.5)
    margin = np.abs(x.sum(1))
    chance = 1 / (1 + np.exp(2 * margin / margin.mean()))
    labels = np.where(rng.random(3000) < 0.2 * chance / chance.mean(), 1 - truth, truth)
    p = cross_val_predict(LogisticRegression(), x, labels, cv=4, method="predict_proba")
    own, plain = precisions(*(torch.from_numpy(one) for one in (np.log(p), labels, truth)))
    assert own > plain - 0.01


def fine_tuned(seed: int) -> tuple[Candidates, Tensor, Tensor]:
    """A network that has learned most labels, a frequent class sooner; its neighbours repeat what it says."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(2000, generator=generator) < 0.67).long()
    labels = torch.where(torch.rand(2000, generator=generator) < 0.2, 1 - truth, truth)
    pull = torch.where(labels == truth, 3.0, 1.2) + torch.randn(2000, generator=generator)
    logit = (2 * labels - 1) * pull + 0.5  # towards the frequent class
    logs = torch.stack([torch.zeros(2000), logit], 1).double().log_softmax(1)
    return Candidates.of(logs, labels).with_neighbours((1.1 * logs).log_softmax(1)), labels, truth


def test_neighbours_that_echo_the_model_leave_what_it_has_missed_of_a_class_to_noise() -> None:
    seen, labels, truth = fine_tuned(0)
    noise, signals = fitted(seen, held_out=False)
    assert signals.echoed
    assert noise.weights.tolist() == [0.0, 0.0]
    right = seen.of_label(noise.posterior_among(seen))
    wrong, plain = (labels != truth).numpy(), -seen.of_label(seen.own)
    assert average_precision_score(wrong, -right) > average_precision_score(wrong, plain) - 0.005


def test_signals_keep_their_numbers() -> None:
    seen, _, _ = fine_tuned(1)
    for held in (True, False):
        _, signals = fitted(seen, held_out=held)
        assert Signals.of_numbers(signals.numbers()) == signals
