"""The pseudo-counts of the transition matrix follow from the counts."""

import pytest
import torch
from scipy.stats import dirichlet_multinomial
from torch import Tensor

from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.transition import _PSEUDO, Pairs, Transition, _pseudo_counts

WRONG = 0.2


def drawn(k: int, concentration: float, *, a_class: int = 200, seed: int = 0) -> Tensor:
    """Counts of true classes and given labels, [k, k], each row with probabilities of its own."""
    expected = torch.full((k, k), WRONG / (k - 1), dtype=torch.float64).fill_diagonal_(1 - WRONG)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rows = torch.distributions.Dirichlet(concentration * expected).sample()
        return torch.distributions.Multinomial(a_class, rows).sample()


def pseudo(counts: Tensor) -> float:
    """Of a matrix of counts."""
    right = counts.diagonal()
    others = counts - torch.diag(right)
    return _pseudo_counts(right, others.flatten(), others.sum(1), WRONG)


@pytest.mark.parametrize("k", [2, 5, 30])
@pytest.mark.parametrize("concentration", [30.0, 300.0, 30_000.0])
def test_they_are_the_fewest_that_are_about_as_likely_as_any(k: int, concentration: float) -> None:
    counts = drawn(k, concentration)
    expected = torch.full((k, k), WRONG / (k - 1), dtype=torch.float64).fill_diagonal_(1 - WRONG).numpy()

    def likelihood(size: float) -> float:
        rows = zip(counts.numpy().astype(int), expected, strict=True)
        return float(sum(dirichlet_multinomial.logpmf(row, size * one, row.sum()) for row, one in rows))

    best = max(map(likelihood, _PSEUDO))
    assert pseudo(counts) == min(size for size in _PSEUDO if best - likelihood(size) <= 1.92)


@pytest.mark.parametrize("seed", range(5))
def test_evenly_spread_noise_has_many_and_a_pattern_few(seed: int) -> None:
    assert pseudo(drawn(30, 1e6, seed=seed)) >= 1000
    pairs = 160 * torch.eye(30) + 40 * torch.eye(30).roll(1, 1)
    assert pseudo(pairs.double()) == _PSEUDO[0]


def test_a_few_samples_have_few() -> None:
    assert pseudo(drawn(3, 1e6, a_class=4)) == _PSEUDO[0]


def test_chance_does_not_look_like_a_pattern() -> None:
    """With 10 wrong labels a class, spread over 49 others, each count is 0, 1 or 2; Q is nearly even."""
    k, generator = 50, torch.Generator().manual_seed(0)
    true = torch.arange(k).repeat(100)
    bad = torch.rand(len(true), generator=generator) < 0.1
    labels = torch.where(bad, (true + torch.randint(1, k, true.shape, generator=generator)) % k, true)
    sure = torch.nn.functional.one_hot(true, k).double()
    pairs = Pairs(Candidates.of(sure, labels))
    q = Transition.fitted(pairs, pairs.counts(sure), sure.new_zeros(k), 0.1).dense()
    others = q[~torch.eye(k, dtype=torch.bool)]
    assert float(others.max() / others.min()) < 2
