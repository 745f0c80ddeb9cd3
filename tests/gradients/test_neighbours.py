import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.gradients import GradientBatch
from ogacli.gradients.neighbours import NeighbourOptions, Neighbours
from ogacli.models.tasks import tasks
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.own_loss import OwnLoss
from ogacli.models.tasks.tokens import Output

CROSS_ENTROPY = Classification()


def gradients(features, logits, labels, rows=None) -> GradientBatch:
    rows = torch.arange(len(labels)) if rows is None else rows
    return GradientBatch(rows, labels, logits, logits, features, [])


def rows_and_features(batch: GradientBatch) -> tuple:
    return batch.rows, batch.features


def bank(batch: GradientBatch, loss=CROSS_ENTROPY, n=None, **options) -> Neighbours:
    found = Neighbours(NeighbourOptions(**options), loss, n or len(batch))
    wanted = torch.isin(batch.rows, found.rows).nonzero()[:, 0]
    for part in wanted.split(7):
        found.see(batch.select(part))
    found.close()
    return found


def blobs(n: int, h: int, k: int, seed: int) -> GradientBatch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, h, generator=generator) + 5  # away from the origin, as behind a ReLU
    logits = 3 * torch.randn(n, k, generator=generator)
    return gradients(features, logits, torch.randint(k, (n,), generator=generator))


def compared(features: np.ndarray) -> np.ndarray:
    """Features as distances are taken: standardised where a few of them have nearly all of the variance.

    That is the case where the participation ratio of the variances is below 1.2, or below a tenth of the
    number of features that vary.
    """
    variance = np.var(features, axis=0)
    few = variance.sum() ** 2 < max(1.2, 0.1 * np.count_nonzero(variance)) * (variance**2).sum()
    return features / np.where(variance > 0, np.sqrt(variance), 1) if few else features


def by_sklearn(batch: GradientBatch, count: int) -> np.ndarray:
    features = compared(batch.features.double().numpy())
    search = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(features)
    found = search.kneighbors(features, return_distance=False)
    return np.stack([[j for j in line if j != i][:count] for i, line in enumerate(found)])


@settings(deadline=None)
@given(
    n=st.integers(3, 40),
    h=st.integers(2, 9),
    k=st.integers(2, 5),
    count=st.integers(1, 45),
    of=st.sampled_from(["predictions", "labels"]),
    seed=st.integers(0, 99),
)
@example(n=4, h=2, k=2, count=1, of="predictions", seed=19)
@example(n=3, h=2, k=2, count=1, of="predictions", seed=90)
def test_the_mean_prediction_of_the_neighbours(n, h, k, count, of, seed):
    batch = blobs(n, h, k, seed)
    count = min(count, n - 1)
    found = bank(batch, count=count, of=of)(*rows_and_features(batch))
    predictions = batch.logits.softmax(1) if of == "predictions" else F.one_hot(batch.labels, k).float()
    expected = predictions[torch.from_numpy(by_sklearn(batch, count))].mean(1)
    torch.testing.assert_close(found.softmax(1), expected, rtol=1e-4, atol=1e-5)


def test_search_in_blocks_is_the_search_in_one(monkeypatch):
    batch = blobs(60, 6, 3, 0)
    whole = bank(batch, count=9)(*rows_and_features(batch))
    monkeypatch.setattr("ogacli.models.neighbours.exact._BLOCK", 7)
    monkeypatch.setattr("ogacli.models.neighbours.exact._QUERIES", 11)
    torch.testing.assert_close(bank(batch, count=9)(*rows_and_features(batch)), whole, rtol=1e-4, atol=1e-4)


def test_a_sample_is_no_neighbour_of_itself_but_its_duplicate_is():
    features = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 9.0], [9.5, 9.0]])
    logits = torch.tensor([[0.0, 9.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    batch = gradients(features, logits, torch.tensor([0, 1, 0, 1]))
    found = bank(batch, count=1)(*rows_and_features(batch))
    assert found.argmax(1).tolist() == [0, 1, 0, 1], "each gets the prediction for the other of its pair"


def test_more_neighbours_than_there_are():
    batch = blobs(5, 3, 2, 0)
    found = bank(batch, count=50)(*rows_and_features(batch)).softmax(1)
    predictions = batch.logits.softmax(1)
    others = torch.stack([predictions[torch.arange(5) != i].mean(0) for i in range(5)])
    torch.testing.assert_close(found, others)


def test_a_sample_alone_has_no_neighbour_prediction():
    batch = blobs(1, 3, 2, 0)
    assert bank(batch)(*rows_and_features(batch)).isnan().all()


def test_samples_that_are_not_finite_are_no_neighbours_and_get_no_prediction():
    batch = blobs(20, 3, 2, 0)
    batch.features[3, 1] = torch.nan
    batch.logits[8, 0] = torch.inf
    found = bank(batch, count=18)
    assert found._bank._place[[3, 8]].tolist() == [-1, -1]
    predicted = found(*rows_and_features(batch)).isfinite().all(1)
    assert predicted.tolist() == [i != 3 for i in range(20)]


def test_a_bank_of_some_of_the_samples():
    batch = blobs(300, 4, 3, 0)
    found = bank(batch, count=5, bank=40)
    assert len(found.rows) == 40
    assert not torch.equal(found.rows, torch.arange(40)), "drawn at random"
    rest = batch.select(torch.tensor([i for i in range(300) if i not in set(found.rows.tolist())]))
    members = batch.select(found.rows)
    distance = torch.cdist(rest.features, members.features)
    near = distance.topk(5, largest=False).indices
    torch.testing.assert_close(
        found(*rows_and_features(rest)).softmax(1),
        members.logits.softmax(1)[near].mean(1),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_projection_keeps_far_apart_what_is_far_apart():
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(3, 600, generator=generator)
    group = torch.arange(90) % 3
    features = centres[group] + torch.randn(90, 600, generator=generator)
    batch = gradients(features, 9.0 * F.one_hot(group, 3), torch.zeros(90, dtype=torch.int64))
    found = bank(batch, count=10, dim=32)
    assert found._bank._features.shape == (90, 32)
    assert found(*rows_and_features(batch)).argmax(1).tolist() == group.tolist()
    again = bank(batch, count=10, dim=32)(*rows_and_features(batch))
    torch.testing.assert_close(again, found(*rows_and_features(batch)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "labels"), [("bce_with_logits", [[0.0, 1.0]] * 6), ("mse", [[2.0, -1.0]] * 6)]
)
@pytest.mark.parametrize("of", ["predictions", "labels"])
def test_other_losses(name, labels, of):
    loss = tasks.get(name)()
    batch = blobs(6, 3, 2, 0)
    batch = gradients(batch.features, batch.logits, torch.tensor(labels))
    found = bank(batch, loss=loss, count=5, of=of)(*rows_and_features(batch))
    own = batch.logits.sigmoid() if name == "bce_with_logits" else batch.logits
    predictions = own if of == "predictions" else batch.labels
    others = torch.stack([predictions[torch.arange(6) != i].mean(0) for i in range(6)])
    taken = found.sigmoid() if name == "bce_with_logits" else found
    torch.testing.assert_close(taken, others, rtol=1e-4, atol=1e-6)
    assert loss.residual(found, batch.labels).isfinite().all()


def test_labels_and_a_loss_of_ones_own(tmp_path):
    (tmp_path / "own_neighbour_loss.py").write_text("def f(logits, labels):\n    return logits.sum(1)\n")
    loss = OwnLoss(factory="own_neighbour_loss:f", folder=str(tmp_path))
    with pytest.raises(GradientError, match=r"not known for a loss of your own(.|\n)*of: predictions"):
        bank(blobs(6, 3, 2, 0), loss=loss, of="labels")


def test_a_model_without_features():
    batch = blobs(6, 3, 2, 0)
    with pytest.raises(GradientError, match="without features there are no neighbours"):
        bank(gradients(None, batch.logits, batch.labels))


def test_a_loss_that_is_not_taken_at_logits():
    with pytest.raises(ConfigError, match=r"gradients.residual: a model that returns its loss"):
        Neighbours(NeighbourOptions(), Output(), 3)


def test_no_sample_can_be_read():
    found = Neighbours(NeighbourOptions(bank=5), CROSS_ENTROPY, 9)
    with pytest.raises(
        DataError, match=r"neighbours.bank: none of the samples(.|\n)*5 samples, such as number"
    ):
        found.close()


def test_no_member_of_the_bank_is_finite():
    batch = blobs(6, 3, 2, 0)
    broken = gradients(batch.features * torch.nan, batch.logits, batch.labels)
    assert bank(broken)(*rows_and_features(batch)).isnan().all()


def test_an_approximate_search_where_every_cell_is_looked_at():
    pytest.importorskip("faiss")
    batch = blobs(60, 6, 3, 0)
    exact, found = (
        bank(batch, count=9, search=search)(*rows_and_features(batch)) for search in ("exact", "faiss")
    )
    torch.testing.assert_close(found.softmax(1), exact.softmax(1))
    one = bank(blobs(1, 6, 3, 0), count=9, search="faiss")(*rows_and_features(blobs(1, 6, 3, 0)))
    assert one.isnan().all()


def test_an_approximate_search_finds_nearly_all_neighbours():
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(30, 16, generator=generator)
    features = centres[torch.arange(6000) % 30] + torch.randn(6000, 16, generator=generator)
    batch = gradients(features, torch.randn(6000, 3, generator=generator), torch.arange(6000) % 3)
    some = torch.arange(0, 6000, 29)
    near = []
    for search in ("exact", "faiss"):
        found = bank(batch, count=10, search=search)
        near.append(found._bank.nearest(some, features[some], 10)[1])
        assert not (near[-1] == some[:, None]).any()
    common = [len(set(a) & set(b)) for a, b in zip(near[0].tolist(), near[1].tolist(), strict=True)]
    assert sum(common) > 0.95 * near[0].numel()


def test_an_approximate_search_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match="faiss is not installed") as caught:
        bank(blobs(20, 4, 3, 0), search="faiss")
    assert "pip install 'ogacli[faiss]'" in str(caught.value)
