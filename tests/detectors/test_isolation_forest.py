import math
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradient_batches import dense_batch, head_batch
from ogacli.detectors.forest.fitting import distinct
from ogacli.detectors.forest.forest import Forest
from ogacli.detectors.forest.growth import average_path as our_average_path
from ogacli.detectors.isolation_forest import Isolation, IsolationForest
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch
from reference import Node, average_path, isolation_score, nested

sklearn_ensemble = pytest.importorskip("sklearn.ensemble")


def fitted(batch: GradientBatch, size: int = 500, **options: Any) -> Isolation:
    detector = IsolationForest(**options).detector()
    wanted = detector.fit_size(len(batch))
    rows = torch.randperm(len(batch), generator=torch.Generator().manual_seed(11))[:wanted]
    detector.fit(batch.select(part) for part in rows.split(size))
    return detector


def scored(batch: GradientBatch, **options: Any) -> Tensor:
    return fitted(batch, **options).score(batch)


def rank_correlation(a: Any, b: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def ours(theirs: Any) -> Forest:
    """The trees of a fitted scikit-learn forest, in our arrays."""
    places = [(number, 0) for number in range(len(theirs.estimators_))]
    coordinate, threshold, left, path = [], [], [], []
    depth, begin = 0, 0
    while places:
        begin += len(places)
        below: list[tuple[int, int]] = []
        for number, node in places:
            tree = theirs.estimators_[number].tree_
            if tree.children_left[node] < 0:
                row = (0, 0.0, 0, depth + average_path(int(tree.n_node_samples[node])))
            else:
                exact = tree.threshold[node]
                near = np.float32(exact)
                below_exact = near if near <= exact else np.nextafter(near, np.float32(-np.inf))
                feature = theirs.estimators_features_[number][tree.feature[node]]
                row = (int(feature), float(below_exact), begin + len(below), 0.0)
                below += [(number, tree.children_left[node]), (number, tree.children_right[node])]
            for column, value in zip((coordinate, threshold, left, path), row, strict=True):
                column.append(value)
        places, depth = below, depth + 1
    usual = [average_path(theirs.max_samples_)] * len(theirs.estimators_)
    return Forest(
        torch.tensor(coordinate),
        torch.tensor(threshold),
        torch.tensor(left),
        torch.tensor(path, dtype=torch.float64),
        torch.tensor(usual, dtype=torch.float64),
    )


# --- against plain definitions and scikit-learn -----------------------------------------------------------


@pytest.mark.parametrize("max_features", [1.0, 0.4])
def test_given_their_trees_the_scores_are_theirs(max_features: float) -> None:
    batch = head_batch(3000)
    matrix = batch.dense().numpy()
    theirs = sklearn_ensemble.IsolationForest(random_state=0, max_features=max_features).fit(matrix)
    found = ours(theirs).score(batch)
    np.testing.assert_allclose(found.numpy(), -theirs.score_samples(matrix), rtol=0, atol=1e-6)


def test_scores_are_those_of_a_walk_through_each_tree() -> None:
    batch = head_batch(300, k=3, h=8)
    detector = fitted(batch, trees=20, subsample=60)
    assert detector.forests is not None
    trees = [nested(detector.forests.whole, root) for root in range(20)]
    expected = [isolation_score(trees, [60] * 20, sample) for sample in batch.dense().tolist()]
    torch.testing.assert_close(detector.score(batch), torch.tensor(expected).double(), rtol=0, atol=1e-6)


def test_usual_path_lengths() -> None:
    found = our_average_path(torch.arange(600))
    expected = torch.tensor([average_path(size) for size in range(600)], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def sparse(n: int) -> GradientBatch:
    """Nine of ten entries are 0, and a fifth of the columns are constant."""
    generator = torch.Generator().manual_seed(5)
    values = torch.randn(n, 300, generator=generator).exp()
    values *= torch.rand(n, 300, generator=generator) < 0.1
    values *= 1 + 4 * (torch.rand(n, 1, generator=generator) < 0.05)
    values[:, ::5] = 0.25
    return dense_batch(values)


def gaussian(n: int) -> GradientBatch:
    generator = torch.Generator().manual_seed(6)
    values = torch.randn(n, 40, generator=generator) * torch.rand(n, 1, generator=generator).exp() ** 2
    return dense_batch(values)


SHAPES = {
    "head": lambda: head_batch(3000),
    "wide head, trees with their own samples": lambda: head_batch(9000, h=300),
    "wide head, trees that share none": lambda: head_batch(26_000, h=100),
    "two classes": lambda: head_batch(3000, k=2, h=16),
    "sparse": lambda: sparse(3000),
    "gaussian": lambda: gaussian(3000),
}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_as_near_to_scikit_learn_as_its_own_seeds_are(shape: str) -> None:
    batch = SHAPES[shape]()
    matrix = batch.dense().numpy()
    theirs = [
        -sklearn_ensemble.IsolationForest(random_state=seed, max_samples=256)
        .fit(matrix)
        .score_samples(matrix)
        for seed in range(4)
    ]
    among = np.mean([rank_correlation(*pair) for pair in combinations(theirs, 2)])
    mine = [scored(batch, seed=seed) for seed in range(3)]
    across = np.mean([rank_correlation(*pair) for pair in product(theirs, mine)])
    assert across >= among - 0.02, f"{across:.3f} against {among:.3f}"


# --- properties ------------------------------------------------------------------------------------------


@pytest.fixture(params=[30, 1000, 2000], ids=["one table", "own samples", "own slices"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> GradientBatch:
    """A batch for each way to collect what the trees are grown from, for SMALL forests."""
    monkeypatch.setattr("ogacli.detectors.forest.fitting._HELD", 1 << 14)
    return head_batch(int(request.param), h=40)


SMALL: dict[str, Any] = {"trees": 40, "subsample": 32}


@pytest.mark.parametrize("scale", [2.0**-30, 1e-9, 1e6])
def test_scale_does_not_matter(way: GradientBatch, scale: float) -> None:
    scaled = dense_batch(way.dense() * scale)
    torch.testing.assert_close(scored(scaled, **SMALL), scored(way, **SMALL), rtol=0, atol=1e-6)


@pytest.mark.parametrize("per_class", [False, True])
def test_batch_size_does_not_matter(way: GradientBatch, per_class: bool) -> None:
    expected = fitted(way, 500, per_class=per_class, **SMALL).score(way)
    detector = fitted(way, 7, per_class=per_class, **SMALL)
    assert torch.equal(detector.score(way), expected)
    alone = torch.cat([detector.score(way.select(slice(i, i + 1))) for i in range(30)])
    assert torch.equal(alone, expected[:30])


def test_trees_do_not_depend_on_what_they_are_grown_with(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = head_batch(2000, h=40)
    monkeypatch.setattr("ogacli.detectors.forest.fitting._HELD", 1 << 15)
    expected = scored(batch, **SMALL)
    monkeypatch.setattr("ogacli.detectors.forest.fitting._HELD", 1 << 12)
    assert torch.equal(scored(batch, **SMALL), expected)


def test_another_seed_is_another_forest() -> None:
    batch = head_batch(1000)
    assert torch.equal(scored(batch, seed=1), scored(batch, seed=1))
    assert not torch.equal(scored(batch, seed=1), scored(batch, seed=2))


@pytest.mark.parametrize("n", [1000, 9000], ids=["one table", "own samples"])
def test_wrong_labels_score_high(n: int) -> None:
    batch = head_batch(n, h=200)
    found = scored(batch)
    wrong = batch.logits.argmax(1) != batch.labels
    assert found[wrong].median() > found[~wrong].quantile(0.95)
    assert 0 < found.min() <= found.max() <= 1


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    p=st.integers(1, 6),
    subsample=st.integers(2, 20),
    levels=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_trees_are_isolation_trees(n: int, p: int, subsample: int, levels: int, seed: int) -> None:
    """Of any data, with ties and constant columns: every inner node divides its samples."""
    values = torch.randint(levels, (n, p), generator=torch.Generator().manual_seed(seed)).float()
    batch = dense_batch(values)
    detector = fitted(batch, trees=5, subsample=subsample, seed=seed)
    assert detector.forests is not None
    forest = detector.forests.whole
    size = min(n, subsample)
    assert int(forest.depths().max()) <= math.ceil(math.log2(max(size, 2)))
    for root in range(5):
        leaves = leaf_sizes(nested(forest, root))
        assert sum(leaves) == size or size == 1
        assert min(leaves) >= 1 or size == 1
    found = detector.score(batch)
    assert torch.isfinite(found).all()
    same = (values[:, None] == values[None]).all(2)
    assert all(len(torch.unique(found[row])) == 1 for row in same)


def leaf_sizes(tree: Node) -> list[int]:
    return [tree] if isinstance(tree, int) else leaf_sizes(tree[2]) + leaf_sizes(tree[3])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples(n: int) -> None:
    found = scored(head_batch(n))
    assert found.shape == (n,)
    assert torch.isfinite(found).all()
    if n < 3:
        assert (found == 0.5).all()


def test_one_parameter() -> None:
    values = torch.cat(
        [torch.randn(200, 1, generator=torch.Generator().manual_seed(0)), torch.tensor([[50.0]])]
    )
    found = scored(dense_batch(values))
    assert found.argmax() == 200
    assert found[200] > 0.8


@pytest.mark.parametrize("value", [0.0, 1e-9, 3.0])
def test_gradients_that_are_all_the_same(value: float) -> None:
    found = scored(dense_batch(torch.full((300, 9), value)))
    assert (found == 0.5).all()


def test_rounding_is_not_a_difference() -> None:
    values = 1 + torch.finfo(torch.float32).eps * torch.randint(4, (300, 9)).float()
    assert (scored(dense_batch(values)) == 0.5).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rounding_of_numbers_that_cancel_is_not_a_difference(scale: float) -> None:
    """As in the gradient of the bias of an attention's keys, which is 0 for every sample."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, 20, generator=generator)
    noisy = values.clone()
    values[:, ::2], noisy[:, ::2] = 0, 1e-8 * values[:, ::2]
    expected, found = (scored(dense_batch(scale * one)) for one in (values, noisy))
    torch.testing.assert_close(found, expected)


def test_billions_of_parameters() -> None:
    """Nothing of the size of p is made."""
    width = 70_000
    coords = distinct(width * width, 1000, torch.Generator().manual_seed(0))
    assert len(coords) == len(torch.unique(coords)) == 1000
    assert coords.max() > width * width * 0.99
    from ogacli.gradients.layers.linear import Outer

    generator = torch.Generator().manual_seed(0)
    a, d = torch.randn(2, 40, width, generator=generator)
    d[7] *= 20
    batch = GradientBatch(torch.arange(40), torch.zeros(40).long(), d, d, a, [Outer(a, d, bias=True)])
    assert batch.p == width * width + width
    assert scored(batch, trees=30).argmax() == 7


def test_a_stream_that_is_shorter_than_expected() -> None:
    """Quarantined samples do not arrive; the forest makes do with the others."""
    batch = head_batch(4000, h=100)
    whole = scored(batch, subsample=32)
    for n in (4000, 3000):
        detector = IsolationForest(subsample=32).detector()
        wanted = detector.fit_size(n)
        detector.fit([batch.select(slice(0, wanted // 2)), batch.select(slice(0, 0))])
        found = detector.score(batch)
        assert torch.isfinite(found).all()
        assert rank_correlation(found, whole) > 0.7


@pytest.mark.parametrize(("trees", "seen"), [(1, 32), (2, 64), (3, 64), (5, 64), (6, 128), (100, 1280)])
def test_groups_of_trees_share_their_samples(trees: int, seen: int) -> None:
    batch = head_batch(4000, h=100)
    detector = IsolationForest(trees=trees, subsample=32).detector()
    assert detector.fit_size(4000) == seen
    detector.fit(batch.select(slice(i, min(i + 50, seen))) for i in range(0, seen, 50))
    assert detector.forests is not None
    assert detector.forests.whole.usual.tolist() == [pytest.approx(average_path(32))] * trees, (
        "each had all of its own"
    )
    apart = IsolationForest(trees=trees, subsample=32, per_class=True).detector()
    assert apart.fit_size(4000) == min(4000, 32 * trees)


def test_more_than_expected_is_not_looked_at() -> None:
    batch = head_batch(600)
    detectors = []
    for stop in (500, 600):
        detector = IsolationForest().detector()
        detector.fit_size(500)
        detector.fit([batch.select(slice(0, stop))])
        detectors.append(detector)
    assert torch.equal(detectors[0].score(batch), detectors[1].score(batch))


def test_torch_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    scored(head_batch(300))
    assert torch.get_num_threads() == before


def test_nothing_to_fit() -> None:
    with pytest.raises(DataError, match="no sample to grow the isolation forest from"):
        IsolationForest().detector().fit([])


# --- per class -------------------------------------------------------------------------------------------


def test_per_class_compares_within_the_label() -> None:
    """A class whose gradients are all large is no outlier in itself; a small one among them is."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 10, generator=generator)
    labels = (torch.arange(2000) >= 1900).long()
    values[1900:] += 20
    values[1950] = 0
    batch = dense_batch(values, labels)
    together, within = scored(batch), scored(batch, per_class=True)
    assert together[1900:].median() > together[:1900].quantile(0.95)
    assert within[1900:].median() < within[:1900].quantile(0.9)
    assert within[1900:].argmax() == 50
    assert within.argmax() == 1950


def test_per_class_is_a_forest_for_each_class() -> None:
    """As near to scikit-learn's forests, one fitted on each class, as those of another seed are.

    Of the 6010 coordinates the table holds but one in three.
    """
    batch = head_batch(6000, k=10, h=600)
    matrix, mine = batch.dense().numpy(), scored(batch, per_class=True)
    for label in range(3):
        own = (batch.labels == label).numpy()
        theirs = [
            -sklearn_ensemble.IsolationForest(random_state=seed).fit(matrix[own]).score_samples(matrix[own])
            for seed in range(2)
        ]
        among = rank_correlation(*theirs)
        across = np.mean([rank_correlation(one, mine[own]) for one in theirs])
        assert across >= among - 0.02


def test_unseen_and_single_classes_fall_back_on_the_whole() -> None:
    batch = head_batch(500, k=3, h=20)
    labels = batch.labels.clone()
    labels[0] = 7
    seen = dense_batch(batch.dense(), labels)
    detector = fitted(seen, per_class=True)
    assert detector.forests is not None
    assert sorted(detector.forests.classes) == [0, 1, 2]
    other = dense_batch(batch.dense(), torch.full((500,), 7))
    assert torch.equal(detector.score(other), detector.forests.whole.score(other))
    assert torch.equal(detector.score(seen)[:1], detector.forests.whole.score(seen)[:1])


def test_per_class_needs_classes() -> None:
    values = torch.randn(20, 4)
    batch = dense_batch(values, torch.zeros(20, 4))
    with pytest.raises(ConfigError, match=r"detector.per_class: there are no classes to compare within"):
        fitted(batch, per_class=True)
