"""Calibration, near ties and lapses against their definitions and simulations."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.disagreement import Disagreement
from ogacli.detectors.label_noise.signals import Signals, fitted
from simulated import predictions


@settings(max_examples=15, deadline=None)
@given(
    k=st.integers(2, 8),
    temper=st.sampled_from([0.3, 1.0, 4.0]),
    share=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 99),
)
def test_the_temperature_is_that_of_maximum_likelihood(
    k: int, temper: float, share: float, seed: int
) -> None:
    logs, labels, _ = predictions(400, k, spread=3.0, share=share, seed=seed)
    logits = temper * logs
    found = Disagreement.of(logits.log_softmax(1), Candidates.of(logits, labels)).inverse_temperature

    def loss(log_beta: float) -> float:
        return float(torch.nn.functional.cross_entropy(math.exp(log_beta) * logits, labels))

    best = minimize_scalar(loss, bounds=(math.log(0.1), math.log(16)), method="bounded").x
    assert math.log(found) == pytest.approx(best, abs=0.01)


def test_shares_are_those_of_the_definition() -> None:
    logs, labels, _ = predictions(500, 4, spread=3.0, share=0.2)
    found = Disagreement.of(logs, Candidates.of(logs, labels))
    p = (found.inverse_temperature * logs).softmax(1)
    top, classes = p.topk(2, 1)
    differs = classes[:, 0] != labels
    assert found.share == pytest.approx(float(differs.double().mean()))
    assert found.near_ties == pytest.approx(float((top[:, 1] > 0.5 * top[:, 0])[differs].double().mean()))
    assert found.majority == pytest.approx(float(labels.bincount().max() / 500))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("k", [2, 10])
def test_lapses_are_the_label_noise_of_a_strong_model(k: int, share: float) -> None:
    logs, labels, true = predictions(8000, k, spread=20.0, share=share)
    found = Disagreement.of(logs, Candidates.of(logs, labels))
    wrong = float((labels != true).double().mean())
    assert found.fewest <= wrong + 0.01
    assert found.lapses == pytest.approx(wrong, abs=0.01 + 0.2 * wrong)


def test_thousands_of_classes_are_counted_by_their_candidates() -> None:
    logs, labels, _ = predictions(600, 400, spread=8.0, share=0.2)
    few = Disagreement.of(Candidates.of(logs, labels).own, Candidates.of(logs, labels))
    assert few.share == pytest.approx(float((logs.argmax(1) != labels).double().mean()))


def test_a_model_that_learned_what_its_neighbours_contradict_is_judged_by_these() -> None:
    near, labels, _ = predictions(2000, 5, spread=12.0, share=0.2)
    learned = near.clone()
    learned[torch.arange(2000), labels] += 12.0  # it predicts the given labels, right and wrong ones
    seen = Candidates.of(learned, labels).with_neighbours(near)
    noise, signals = fitted(seen, held_out=False)
    assert signals.memorised
    assert signals.best is signals.near
    assert noise.trust > 0.9
    _, held = fitted(seen, held_out=True)
    assert not held.memorised
    assert held.best is held.own
    assert held.trust[0] == 0


def test_signals_come_back_from_numbers() -> None:
    logs, labels, _ = predictions(300, 3, spread=3.0)
    seen = Candidates.of(logs, labels)
    for one in (seen, seen.with_neighbours(logs)):
        _, signals = fitted(one, held_out=True)
        assert Signals.of_numbers(signals.numbers()) == signals


def test_a_network_that_was_trained_fast_is_not_believed_where_it_is_sure() -> None:
    """It contradicts right labels firmly, and its neighbours do not; held out this would be label noise."""
    logs, labels, _ = predictions(2000, 2, spread=6.0)
    mistaken = torch.rand(2000, generator=torch.Generator().manual_seed(0)) < 0.1
    own = torch.where(mistaken[:, None], logs.flip(1), logs)
    seen = Candidates.of(own, labels).with_neighbours(logs)
    _, held = fitted(seen, held_out=True)
    _, trained = fitted(seen, held_out=False)
    assert held.fewest > 0.05
    assert trained.lapses is trained.near
    assert trained.fewest < 0.02
    alone = replace(trained, near=None, own=replace(trained.own, inverse_temperature=2.0))
    assert alone.fewest == 0
    assert not alone.flat
