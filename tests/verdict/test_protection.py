import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import ConfigError
from ogacli.verdict.protection import parse_protect, protected


def ranks(score) -> np.ndarray:
    order = np.argsort(-np.asarray(score), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def test_by_hand():
    """Four of twenty are flagged, all of a class of five: three times a fifth of five may stay."""
    score = np.arange(20, 0, -1)
    classes = np.array([1] * 5 + [0] * 15)
    flagged = ranks(score) <= 4
    assert protected(flagged, ranks(score), classes, 3.0).nonzero()[0].tolist() == [0, 1, 2]
    assert protected(flagged, ranks(score), classes, 1.5).nonzero()[0].tolist() == [0, 1]
    assert protected(flagged, ranks(score), classes, "off").sum() == 4


def test_one_of_the_rarest_class_may_always_be_flagged():
    score = np.arange(100, 0, -1)
    classes = np.array([1, 1, 1] + [0] * 97)
    kept = protected(ranks(score) <= 3, ranks(score), classes, 3.0)
    assert kept.nonzero()[0].tolist() == [0]


def test_samples_without_a_score_do_not_count():
    rank = np.array([1, 2, 3, 0, 0, 0, 0, 0])
    classes = np.array([1, 1, 0, 1, 1, 1, 0, 0])
    kept = protected(rank == 1, rank, classes, 1.0)
    assert kept.tolist() == [True] + [False] * 7
    both = protected((rank == 1) | (rank == 2), rank, classes, 1.0)
    assert both.sum() == 2, "two of three are flagged; two thirds of two are two, rounded up"


def test_nothing_flagged():
    assert not protected(np.zeros(3, bool), np.array([1, 2, 3]), np.zeros(3, int), 3.0).any()


@settings(deadline=None)
@given(
    classes=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    share=st.floats(0, 1),
    protect=st.floats(1, 10),
    seed=st.integers(0, 99),
)
def test_no_class_is_flagged_more_than_allowed_and_no_more_is_held_back_than_needed(
    classes, share, protect, seed
):
    classes, n = np.array(classes), len(classes)
    rank = np.random.default_rng(seed).permutation(n) + 1
    flagged = rank <= round(share * n)
    kept = protected(flagged, rank, classes, protect)
    assert not (kept & ~flagged).any()
    for one in np.unique(classes):
        own = classes == one
        allowed = protect * flagged.mean() * own.sum()
        assert (kept & own).sum() < allowed + 1
        if (kept & own).sum() < (flagged & own).sum():
            assert (kept & own).sum() >= allowed - 1e-6
            assert rank[kept & own].max(initial=0) < rank[flagged & ~kept & own].min()


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3.0), (1, 1.0), (2.5, 2.5), ("off", "off"), (False, "off")]
)
def test_values(value, expected):
    assert parse_protect(value) == expected


@pytest.mark.parametrize("value", [0.5, 0, -1, True, "on", "3", None, float("nan"), float("inf"), [3]])
def test_other_values(value):
    with pytest.raises(
        ConfigError, match=r"not a multiple of the flagged share\n.*\n  expected: a number of at"
    ):
        parse_protect(value)
