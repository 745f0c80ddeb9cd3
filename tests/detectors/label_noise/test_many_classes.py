"""Large label sets: the candidates of each sample, and a transition matrix of the pairs that occur."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

import reference_label_noise as reference
from fitted_noise import fitted_noise
from gradient_batches import dense_batch
from ogacli.detectors import detectors
from ogacli.detectors.label_noise import candidates, model, transition
from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.model import log_odds_wrong


def simulated(
    n: int, k: int, *, sure: float = 0.7, wrong: float = 0.2, tail: bool = False, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, labels, true classes and kNN log-probabilities of Gaussian classes with wrong labels."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(k, (n,), generator=generator)
    if tail:
        true = (torch.rand(n, generator=generator) ** 3 * k).long()
    centres = sure * torch.randn(k, 32, generator=generator)
    x = centres[true] + torch.randn(n, 32, generator=generator)
    logits = x @ centres.t() - centres.square().sum(1) / 2
    bad = torch.rand(n, generator=generator) < wrong
    labels = torch.where(bad, (true + torch.randint(1, k, (n,), generator=generator)) % k, true)
    near = (logits / 2 + torch.randn(n, k, generator=generator)).log_softmax(1)
    return logits, labels, true, near


def fits(
    logits: Tensor, labels: Tensor, near: Tensor | None
) -> tuple[reference.LabelNoise, model.LabelNoise]:
    """The dense reference and the model after 20 iterations: few samples of many classes take hundreds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_STEPS", 20)
        patch.setattr(model, "_STEPS", 20)
        return reference.LabelNoise.fitted(logits, labels, near), fitted_noise(logits, labels, near)


def both(logits: Tensor, labels: Tensor, near: Tensor | None) -> tuple[Tensor, Tensor]:
    """The log-odds of a wrong label, by the dense reference and by the model."""
    return odds(*fits(logits, labels, near), logits, labels, near)


def odds(
    dense: reference.LabelNoise,
    found: model.LabelNoise,
    logits: Tensor,
    labels: Tensor,
    near: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The log-odds of a wrong label by each of the two."""
    return (
        reference.log_odds_wrong(dense.posterior(logits, labels, near), labels),
        log_odds_wrong(found.posterior(logits, labels, near), labels),
    )


@settings(max_examples=25, deadline=None)
@given(n=st.integers(20, 120), k=st.sampled_from([2, 3, 7, 128]), near=st.booleans(), seed=st.integers(0, 99))
def test_with_few_classes_it_is_the_dense_model(n: int, k: int, near: bool, seed: int) -> None:
    logits, labels, _, neighbours = simulated(n, k, sure=0.3, seed=seed)
    pool = neighbours if near else None
    dense, fitted = fits(logits, labels, pool)
    # With separable classes the sharpness runs to its bound by steps that are rounding errors.
    assume(dense.sharpness < 20)
    expected, found = odds(dense, fitted, logits, labels, pool)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fitted.transition.dense(), dense.transition, rtol=1e-6, atol=1e-9)
    assert fitted.sharpness == pytest.approx(dense.sharpness, rel=1e-6)
    assert fitted.trust == pytest.approx(dense.trust, rel=1e-6)


@pytest.mark.parametrize(
    ("n", "k", "options"),
    [
        (2000, 50, {}),
        (2000, 50, {"sure": 0.4}),
        (1000, 200, {"sure": 0.9}),
        pytest.param(2000, 500, {"sure": 0.9}, marks=pytest.mark.slow),
        pytest.param(4000, 500, {"sure": 0.45}, marks=pytest.mark.slow),
        pytest.param(4000, 500, {"tail": True, "wrong": 0.1}, marks=pytest.mark.slow),
    ],
)
def test_the_ranking_is_as_good_as_that_of_the_dense_model(n: int, k: int, options: dict) -> None:  # type: ignore[type-arg]
    logits, labels, true, near = simulated(n, k, **options)
    dense, found = (
        float(average_precision_score((labels != true).numpy(), one.numpy()))
        for one in both(logits, labels, near)
    )
    assert found > dense - 0.001


def test_with_all_classes_as_candidates_many_classes_are_the_dense_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sparse pairs and the entry of the others in place of all classes, on a set of few classes."""
    logits, labels, _, near = simulated(300, 12)
    expected, _ = both(logits, labels, near)
    monkeypatch.setattr(candidates, "ALL", 11)
    monkeypatch.setattr(candidates, "_MOST", 11)
    monkeypatch.setattr(transition, "_TABLE", 11)
    _, found = both(logits, labels, near)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_candidates_hold_the_given_label_and_all_probability() -> None:
    logits, labels, *_ = simulated(40, 300)
    seen = Candidates.of(logits, labels)
    assert seen.classes is not None
    assert torch.equal(seen.classes[:, 0], labels)
    assert all(len(row.unique()) == len(row) for row in seen.classes)
    assert seen.biased(seen.own, torch.zeros(300)).logsumexp(1).tolist() == pytest.approx(
        [0.0] * 40, abs=1e-5
    )


def test_rows_of_a_sparse_transition_sum_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels, *_ = simulated(500, 300)
    fitted = fitted_noise(logits, labels).transition
    dense = fitted.dense()
    torch.testing.assert_close(dense.sum(1), torch.ones(300, dtype=torch.float64))
    monkeypatch.setattr(transition, "_TABLE", 0)
    like = torch.empty(0, dtype=torch.float64)
    torch.testing.assert_close(fitted.logs_of(labels, like), dense.log().t()[labels])


def test_neighbours_are_counted_by_the_classes_that_occur() -> None:
    """40 of 2,000 classes occur; those are what a sample's neighbours are compared with."""
    generator = torch.Generator().manual_seed(0)
    n, k = 800, 2000
    true = torch.randint(40, (n,), generator=generator)
    wrong = torch.rand(n, generator=generator) < 0.2
    labels = torch.where(wrong, (true + 1) % 40, true)
    centres = torch.randn(40, 16, generator=generator)
    features = centres[true] + 0.5 * torch.randn(n, 16, generator=generator)
    learned = torch.rand(n, generator=generator) < 0.5
    logits = torch.randn(n, k, generator=generator)
    logits[torch.arange(n), torch.where(learned, labels, true)] += 10
    batch = replace(dense_batch(logits, labels), features=features)
    found = {}
    for count in (0, 20):
        detector = detectors.get("latent_label")(neighbours=count).detector()
        detector.fit([batch])
        assert (detector.neighbours and detector.neighbours.count) == (count or None)
        found[count] = float(average_precision_score(wrong, detector.score(batch)))
        again = detectors.get("latent_label")(neighbours=count).detector()
        again.restore(detector.state())
        torch.testing.assert_close(again.score(batch), detector.score(batch))
    assert found[20] > found[0] + 0.1


def test_memory_does_not_grow_with_the_square_of_the_classes() -> None:
    """20,000 classes: a dense transition matrix would take 3.2 GB."""
    generator = torch.Generator().manual_seed(0)
    n, k = 300, 20_000
    labels = torch.randint(k, (n,), generator=generator)
    logits = torch.randn(n, k, generator=generator)
    logits[torch.arange(n), labels] += 12
    logits[:5, 7] += 30
    detector = detectors.get("latent_label")().detector()
    detector.fit([dense_batch(logits, labels)])
    assert sum(tensor.nbytes for tensor in detector.state().values()) < 4 << 20
    score = detector.score(dense_batch(logits, labels))
    assert sorted(score.argsort(descending=True)[:5].tolist()) == [0, 1, 2, 3, 4]
