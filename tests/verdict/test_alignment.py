"""Outputs in another order than the classes are recognised, and weak models and wrong labels are not that."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ogacli.verdict.alignment import misalignment
from ogacli.verdict.findings import Findings


def findings(probabilities: torch.Tensor, labels: torch.Tensor) -> tuple[Findings, torch.Tensor]:
    highest, predictions = probabilities.max(1)
    own = probabilities[torch.arange(len(labels)), labels]
    return Findings(
        scores={},
        predictions=predictions,
        prediction_probability=highest,
        probability=own,
        quarantined={},
    ), labels


def answers(
    k: int, n: int = 2000, *, right: float = 0.9, seed: int = 0, tail: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of a model that predicts so many of the true classes, and these."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.multinomial(tail ** torch.arange(k).float(), n, replacement=True, generator=generator)
    other = (truth + torch.randint(1, k, (n,), generator=generator)) % k
    said = torch.where(torch.rand(n, generator=generator) < right, truth, other)
    rest = torch.rand(n, k, generator=generator)
    probabilities = (1 - right) * rest / rest.sum(1, keepdim=True)
    probabilities[torch.arange(n), said] += right
    return probabilities, truth


def wrong(truth: torch.Tensor, k: int, share: float, *, pairs: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    moved = torch.rand(len(truth), generator=generator) < share
    by = torch.ones_like(truth) if pairs else torch.randint(1, k, truth.shape, generator=generator)
    return torch.where(moved, (truth + by) % k, truth)


@pytest.mark.parametrize("k", [2, 3, 11, 100])
@pytest.mark.parametrize("tail", [1.0, 0.9])
def test_the_order_of_the_outputs_is_found(k, tail):
    probabilities, truth = answers(k, 6000, right=0.95, tail=tail if k < 20 else 1.0)
    labels = wrong(truth, k, 0.05)
    order = sorted(range(k), key=str) if k > 10 else [*range(1, k), 0]  # 0, 1, 10, 11, 2, ..
    found = misalignment(*findings(probabilities[:, order], labels))
    assert found is not None
    assert all(order[output] == label for label, output in found.outputs.items())
    assert found.order(k) == order
    assert found.agreement == pytest.approx(0.9, abs=0.05)
    assert misalignment(*findings(probabilities, labels), guessed=True) is None


@pytest.mark.parametrize(("share", "pairs"), [(0.4, False), (0.45, True)])
@pytest.mark.parametrize("k", [10, 50])
def test_it_is_found_below_label_noise(k, share, pairs):
    probabilities, truth = answers(k, 8000)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(1)).tolist()
    found = misalignment(*findings(probabilities[:, order], wrong(truth, k, share, pairs=pairs)))
    assert found is not None
    right = sum(order[output] == label for label, output in found.outputs.items())
    assert right >= 0.9 * len(found.outputs)  # of 45 % and 55 % the first may be more by chance


def test_outputs_beyond_the_classes():
    """Such as those of a network of 1,000 classes for a dataset of ten of them."""
    probabilities, truth = answers(10)
    wide = torch.zeros(len(truth), 60)
    places = [0, 21, 48, 49, 50, 51, 56, 57, 58, 59]
    wide[:, places] = probabilities
    found = misalignment(*findings(wide, truth))
    assert found is not None
    assert [found.order(10)[place] for place in places] == list(range(10))
    assert sum(label is not None for label in found.order(10)) == 10


@settings(max_examples=150, deadline=None)
@given(
    k=st.sampled_from([2, 3, 5, 10, 40]),
    n=st.sampled_from([40, 400, 3000]),
    right=st.floats(0.05, 0.99),
    share=st.floats(0.0, 0.45),
    pairs=st.booleans(),
    tail=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, 1000),
)
def test_weak_models_and_wrong_labels_are_never_another_order(k, n, right, share, pairs, tail, seed):
    probabilities, truth = answers(k, n, right=max(right, 1.1 / k), seed=seed, tail=tail)
    labels = wrong(truth, k, share, pairs=pairs)
    assert misalignment(*findings(probabilities, labels), guessed=True) is None


@pytest.mark.parametrize("hidden", [8, 64])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_untrained_models_are_not(k, hidden):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(k, (500,), generator=generator)
    inputs = torch.randn(500, 10, generator=generator) + 3 * nn.functional.one_hot(truth, 10)
    for seed in range(60):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            network = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, k))
            found = misalignment(*findings(network(inputs).softmax(1), truth))
        assert found is None, seed


def test_a_model_that_always_says_the_same_is_not():
    labels = torch.tensor([0] * 900 + [1] * 100)
    for said in (0, 1):
        probabilities = 0.02 + 0.96 * nn.functional.one_hot(torch.full((1000,), said), 2).double()
        assert misalignment(*findings(probabilities, labels), guessed=True) is None


def test_two_of_many_classes_may_be_exchanged_in_the_labels():
    probabilities, truth = answers(40, 8000)
    labels = truth.clone()
    labels[truth == 3] = 7
    labels[truth == 7] = 3
    assert misalignment(*findings(probabilities, labels), guessed=True) is None


def test_many_classes_take_no_table_of_all_pairs():
    k = 100_000
    labels = torch.arange(k)
    found = Findings(
        scores={},
        predictions=(labels + 1) % k,
        prediction_probability=torch.full((k,), 0.9),
        probability=torch.full((k,), 0.01),
        quarantined={},
    )
    began = time.perf_counter()
    misalignment(found, labels)
    assert time.perf_counter() - began < 60
