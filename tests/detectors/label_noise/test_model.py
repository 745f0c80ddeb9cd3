import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

from fitted_noise import fitted_noise
from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.model import LabelNoise, log_odds_wrong, probability_wrong
from ogacli.detectors.label_noise.transition import Transition


def noisy(
    n: int, transition: Tensor, *, sharp: float = 1.0, spread: float = 3.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a model whose probabilities are right at that sharpness, true classes, given labels."""
    generator = torch.Generator().manual_seed(seed)
    k = len(transition)
    logits = spread * torch.randn(n, k, generator=generator)
    true = torch.multinomial((logits * sharp).softmax(1), 1, generator=generator)[:, 0]
    given = torch.multinomial(transition[true], 1, generator=generator)[:, 0]
    return logits, true, given


def of_matrix(q: Tensor) -> Transition:
    """A transition matrix of which every pair is counted."""
    k = len(q)
    pairs, others = torch.arange(k * k), (q * (1 - torch.eye(k))).t().flatten()
    return Transition(
        q.diagonal(), torch.ones(k).double(), torch.zeros(k).double(), pairs % k, pairs // k, others
    )


def odds(noise: LabelNoise, logits: Tensor, labels: Tensor, neighbours: Tensor | None = None) -> Tensor:
    return log_odds_wrong(noise.posterior(logits, labels, neighbours), labels)


def even(k: int, wrong: float) -> Tensor:
    return (1 - wrong) * torch.eye(k) + wrong / (k - 1) * (1 - torch.eye(k))


def test_it_finds_what_made_the_labels() -> None:
    transition = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.8, 0.1], [0.25, 0.0, 0.75]])
    logits, _, labels = noisy(40_000, transition, sharp=2.0, spread=1.5)
    found = fitted_noise(logits, labels)
    assert found.sharpness == pytest.approx(2.0, rel=0.1)
    torch.testing.assert_close(found.transition.dense(), transition.double(), atol=0.03, rtol=0)


@pytest.mark.parametrize("wrong", [0.1, 0.2, 0.4])
def test_the_odds_are_calibrated(wrong: float) -> None:
    logits, true, labels = noisy(20_000, even(5, wrong))
    found = fitted_noise(logits, labels)
    probability = odds(found, logits, labels).sigmoid()
    mislabelled = (true != labels).double()
    assert float(probability.mean()) == pytest.approx(wrong, abs=0.02)
    for part in probability.argsort().tensor_split(10):
        assert float(probability[part].mean()) == pytest.approx(float(mislabelled[part].mean()), abs=0.05)


def test_the_odds_are_bayes_rule() -> None:
    logits, _, labels = noisy(50, even(4, 0.3))
    weights = torch.tensor([0.5, -0.2, 0.0, -0.3]).double()
    q = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(4), 4))
    noise = LabelNoise(1.7, 0.5, weights, of_matrix(q))
    prior = (1.7 * logits.double() + weights).softmax(1)
    for row in range(50):
        right = prior[row, labels[row]] * q[labels[row], labels[row]]
        wrong = sum(prior[row, true] * q[true, labels[row]] for true in range(4) if true != labels[row])
        assert float(odds(noise, logits, labels)[row]) == pytest.approx(float((wrong / right).log()))
    assert noise.posterior(logits, labels).exp().sum(1).tolist() == pytest.approx([1.0] * 50)


@pytest.mark.parametrize("k", [2, 5])
def test_without_noise_it_is_calibrated_as_by_maximum_likelihood(k: int) -> None:
    """As a general optimiser finds it: one temperature and one bias a class."""
    logits, _, labels = noisy(800, even(k, 0.1), sharp=0.6)
    seen = Candidates.of(logits, labels)
    own = seen.own.clone()
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    biases = torch.zeros(k, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, biases], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(scale * own + biases, labels, reduction="sum")
        value.backward()
        return value

    optimizer.step(loss)
    found = LabelNoise.without_noise(seen, 0.0)
    assert found.log_likelihood(seen) == pytest.approx(-float(loss().detach()), abs=0.05)
    assert found.sharpness == pytest.approx(float(scale.detach()), rel=0.02)


def test_the_likelihood_is_that_of_the_mixture() -> None:
    logits, _, labels = noisy(300, even(3, 0.2))
    seen = Candidates.of(logits, labels)
    found = LabelNoise.fitted_to(seen)
    prior = (found.sharpness * seen.own + found.weights).softmax(1)
    given = (prior @ found.transition.dense())[torch.arange(300), labels]
    assert found.log_likelihood(seen) == pytest.approx(float(given.log().sum()), rel=1e-9)


def test_probabilities_near_one_keep_their_order() -> None:
    """Also those whose odds are beyond what a number near 1 can tell apart."""
    odds = torch.linspace(-40, 700, 2000, dtype=torch.float64)
    true = torch.stack([-odds, torch.zeros_like(odds)], 1).log_softmax(1)
    found = probability_wrong(true, torch.zeros(2000, dtype=torch.int64))
    assert bool((found.diff() > 0).all())
    assert float(found.max()) < 1
    usual = odds < 15
    torch.testing.assert_close(found[usual], odds[usual].sigmoid())


def test_memorised_labels_are_still_ranked() -> None:
    """The model predicts every given label, with lower probability for some; that order is kept."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (500,), generator=generator)
    doubt = torch.rand(500, generator=generator)
    logits = F.one_hot(labels, 4) * (12 - 4 * doubt)[:, None]
    found = odds(fitted_noise(logits, labels), logits, labels)
    assert torch.equal(found.argsort(), doubt.argsort())


def test_predictions_are_pooled_with_weights_by_their_accuracy() -> None:
    """The better one has the larger weight, and the pool ranks better than either alone."""
    generator = torch.Generator().manual_seed(0)
    n, k = 6000, 4
    true = torch.randint(k, (n,), generator=generator)
    labels = torch.where(torch.rand(n, generator=generator) < 0.2, (true + 1) % k, true)

    def prediction(sure: float) -> Tensor:
        drawn = torch.randn(n, k, generator=generator) + sure * F.one_hot(true, k)
        return sure * drawn  # these are the right logits

    def precision(noise: LabelNoise, *predictions: Tensor | None) -> float:
        first, second = predictions
        found = odds(noise, first, labels, second)
        return float(average_precision_score((true != labels).numpy(), found.numpy()))

    weak, strong = prediction(1.2), prediction(2.0)
    found = fitted_noise(weak, labels, strong.log_softmax(1))
    turned = fitted_noise(strong, labels, weak.log_softmax(1))
    assert found.trust == pytest.approx(0.5, abs=0.1)
    assert turned.trust == pytest.approx(1 - found.trust, abs=0.02)
    together = precision(found, weak, strong.log_softmax(1))
    assert together == pytest.approx(precision(turned, strong, weak.log_softmax(1)), abs=1e-3)
    for one in (weak, strong):
        assert together > precision(fitted_noise(one, labels), one, None) + 0.02
    noise = prediction(0.0) + torch.randn(n, k, generator=generator)
    assert fitted_noise(strong, labels, noise.log_softmax(1)).trust == pytest.approx(0.2)


def test_without_neighbours_it_is_the_prediction_twice() -> None:
    logits, _, labels = noisy(300, even(3, 0.2))
    alone, same = (fitted_noise(logits, labels, near) for near in (None, logits.log_softmax(1)))
    torch.testing.assert_close(
        odds(alone, logits, labels), odds(same, logits, labels, logits.log_softmax(1)), rtol=1e-3, atol=1e-3
    )


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40),
    k=st.integers(2, 6),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_the_odds_are_finite_for_any_logits(n: int, k: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, k, generator=generator)
    labels = torch.randint(k, (n,), generator=generator)
    found = fitted_noise(logits, labels)
    assert torch.isfinite(odds(found, logits, labels)).all()
    torch.testing.assert_close(found.transition.dense().sum(1), torch.ones(k, dtype=torch.float64))
    assert (found.transition.right <= 0.9 + 1e-9).all()
    assert (found.transition.right >= 1 / k - 1e-9).all()
    assert found.sharpness >= 1


def test_adding_a_number_to_all_logits_changes_nothing() -> None:
    logits, _, labels = noisy(300, even(3, 0.2))
    moved = logits + 100 * torch.rand(300, 1, generator=torch.Generator().manual_seed(1))
    a, b = (odds(fitted_noise(found, labels), found, labels) for found in (logits, moved))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_the_order_of_classes_does_not_matter() -> None:
    logits, _, labels = noisy(400, even(4, 0.2))
    order = torch.tensor([2, 0, 3, 1])
    place = order.argsort()
    a = odds(fitted_noise(logits, labels), logits, labels)
    b = odds(fitted_noise(logits[:, order], place[labels]), logits[:, order], place[labels])
    torch.testing.assert_close(a, b)


def test_of_very_many_samples_the_first_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ogacli.detectors.label_noise.model._ENTRIES", 300)
    logits, _, labels = noisy(1000, even(3, 0.2))
    few, same = fitted_noise(logits, labels), fitted_noise(logits[:100], labels[:100])
    assert few.sharpness == same.sharpness
    assert torch.equal(few.transition.dense(), same.transition.dense())
