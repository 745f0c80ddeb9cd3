import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from ogacli.models.neighbours.exact import Bank, compressed, mean_of, units


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(
    n=st.integers(2, 60),
    m=st.integers(1, 60),
    d=st.integers(1, 8),
    count=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_nearest_members_but_for_oneself(n, m, d, count, seed):
    features = normal(seed, n, d) + 7
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    rows = order[: min(m, n)]
    distance, where = Bank(rows, features[rows]).nearest(torch.arange(n), features, count)
    features = features / units(features[rows])
    others = NearestNeighbors(n_neighbors=len(rows), algorithm="brute").fit(features[rows].double().numpy())
    expected, places = others.kneighbors(features.double().numpy())
    for row in range(n):
        found = rows[where[row][distance[row].isfinite()]]
        assert row not in found
        there = rows[torch.from_numpy(places[row])] != row
        known = expected[row][there.numpy()][:count]
        np.testing.assert_allclose((features[found] - features[row]).norm(dim=1), known, rtol=1e-3, atol=1e-3)


@settings(deadline=None)
@given(seed=st.integers(0, 99), d=st.integers(2, 60), power=st.integers(3, 7))
def test_a_column_of_large_numbers_does_not_decide_alone(seed, d, power):
    features = normal(seed, 80, d)
    features[:, 0] *= 10.0**power
    if d > 2:
        features[:, 1] = 4.0
    scaled = (features - features.mean(0)) / features.std(0, correction=0).where(features.std(0) > 0, 1)
    rows = torch.arange(80)
    _, where = Bank(rows, features).nearest(rows, features, 5)
    _, expected = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(scaled.double()).kneighbors(scaled)
    assert (
        float((where.sort(1).values == torch.from_numpy(expected[:, 1:]).sort(1).values).float().mean())
        > 0.98
    )


@given(seed=st.integers(0, 99), d=st.integers(4, 128), alive=st.floats(0.1, 1), spread=st.floats(0, 0.3))
def test_features_of_one_kind_are_compared_as_they_are(seed, d, alive, spread):
    """Those of a network, some of which are 0 for most samples."""
    features = (normal(seed, 100, d) * (spread * normal(seed + 1, d)).exp()).relu()
    features[:, max(4, round(alive * d)) :] = 0
    assert units(features).eq(1).all()


def test_samples_that_are_no_members_and_none_at_all():
    bank = Bank(torch.tensor([2, 5]), torch.tensor([[0.0], [10.0]]))
    distance, where = bank.nearest(torch.tensor([5, 6, 999]), torch.tensor([[10.0], [9.0], [1.0]]), 1)
    assert where[:, 0].tolist() == [0, 1, 0], "5 is the second member; 6 and 999 were never seen"
    assert distance.isfinite().all()
    distance, where = bank.nearest(torch.empty(0, dtype=torch.int64), torch.empty(0, 1), 1)
    assert len(distance) == len(where) == 0
    assert mean_of(torch.ones(2, 3), distance, where).shape == (0, 3)


def test_the_mean_is_over_those_that_there_are():
    answers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    distance = torch.tensor([[0.1, torch.inf], [0.1, 0.2], [torch.inf, torch.inf]])
    found = mean_of(answers, distance, torch.tensor([[0, 1], [0, 1], [0, 1]]))
    torch.testing.assert_close(found[:2], torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert found[2].isnan().all()


def test_features_are_compressed_once_and_always_alike():
    features = normal(0, 40, 500)
    found = compressed(features)
    assert found.shape == (40, 128)
    assert torch.equal(compressed(found), found)
    torch.testing.assert_close(compressed(features[3:9]), found[3:9], rtol=1e-4, atol=1e-4)
    ratio = torch.pdist(found) / torch.pdist(features)
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert not torch.allclose(compressed(features, seed=1), found)
    small = normal(1, 3, 7).half()
    assert torch.equal(compressed(small), small.float())
