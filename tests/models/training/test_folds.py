"""Which sample is in which fold."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.data.labels.label_types import Numbers
from ogacli.errors import ConfigError
from ogacli.models.training.folds import assign
from small_scans import make_place


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 2), min_size=6, max_size=60), count=st.integers(2, 6))
def test_folds_are_of_equal_size_and_deal_out_every_class(shared_samples, labels, count):
    samples = replace(shared_samples.select(torch.arange(len(labels))), labels=torch.tensor(labels))
    fold = assign(samples, count, seed=3)
    sizes = torch.bincount(fold, minlength=count)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        own = torch.bincount(fold[samples.labels == label], minlength=count)
        assert own.max() - own.min() <= 1
    assert torch.equal(fold, assign(samples, count, seed=3))


@pytest.fixture(scope="module")
def shared_samples(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("samples")).config().data.open()


@pytest.mark.parametrize("labels", [[0, 1, 2, 3] * 2, list(range(9)), [0] * 20 + [1, 2]])
def test_classes_with_fewer_samples_than_folds_are_dealt_out(shared_samples, labels):
    labels, classes = torch.tensor(labels), tuple("abcdefghi")
    samples = replace(
        shared_samples.select(torch.arange(len(labels))), labels=labels, truth=None, classes=classes
    )
    fold = assign(samples, 5, seed=0)
    assert torch.bincount(fold, minlength=5).diff().abs().max() <= 1
    for label in labels.unique():
        assert torch.bincount(fold[labels == label], minlength=5).max() <= -(
            -int((labels == label).sum()) // 5
        )


def test_numbers_as_labels_are_dealt_out_at_random(shared_samples):
    samples = shared_samples.select(torch.arange(22))
    samples = replace(samples, labels=torch.rand(22, 2), truth=None, classes=(), label_type=Numbers())
    first, other = (assign(samples, 4, seed=seed) for seed in (0, 1))
    assert sorted(torch.bincount(first).tolist()) == [5, 5, 6, 6]
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_any_seed_will_do_and_the_random_state_is_left_as_it_was(shared_samples, seed):
    before = torch.get_rng_state()
    assert torch.equal(assign(shared_samples, 3, seed), assign(shared_samples, 3, seed))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("count", "message"), [(None, "no number of folds"), (200, "more folds than samples")]
)
def test_how_many_folds_there_may_be(shared_samples, count, message):
    with pytest.raises(ConfigError, match=rf"train\.folds: {message}"):
        assign(shared_samples, count, 0)
