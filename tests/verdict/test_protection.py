import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import ConfigError
from ogacli.verdict.protection import Protect, parse_protect, protected


def ranks(score) -> np.ndarray:
    order = np.argsort(-np.asarray(score), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def only(times: float) -> Protect:
    """Limits the flagged share alone."""
    return Protect(times=times, keep=0, least=0)


def test_by_hand():
    """Four of twenty are flagged, all of a class of five: three times a fifth of five may stay."""
    score = np.arange(20, 0, -1)
    classes = np.array([1] * 5 + [0] * 15)
    flagged = ranks(score) <= 4
    assert protected(flagged, ranks(score), classes, only(3)).nonzero()[0].tolist() == [0, 1, 2]
    assert protected(flagged, ranks(score), classes, only(1.5)).nonzero()[0].tolist() == [0, 1]
    assert protected(flagged, ranks(score), classes, "off").sum() == 4


def test_one_of_the_rarest_class_may_always_be_flagged():
    score = np.arange(100, 0, -1)
    classes = np.array([1, 1, 1] + [0] * 97)
    kept = protected(ranks(score) <= 3, ranks(score), classes, only(3))
    assert kept.nonzero()[0].tolist() == [0]


def test_samples_without_a_score_do_not_count():
    rank = np.array([1, 2, 3, 0, 0, 0, 0, 0])
    classes = np.array([1, 1, 0, 1, 1, 1, 0, 0])
    kept = protected(rank == 1, rank, classes, only(1))
    assert kept.tolist() == [True] + [False] * 7
    both = protected((rank == 1) | (rank == 2), rank, classes, only(1))
    assert both.sum() == 2, "two of three are flagged; two thirds of two are two, rounded up"


def test_nothing_flagged():
    assert not protected(np.zeros(3, bool), np.array([1, 2, 3]), np.zeros(3, int), Protect()).any()


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
    kept = protected(flagged, rank, classes, only(protect))
    assert not (kept & ~flagged).any()
    for one in np.unique(classes):
        own = classes == one
        allowed = protect * flagged.mean() * own.sum()
        assert (kept & own).sum() < allowed + 1
        if (kept & own).sum() < (flagged & own).sum():
            assert (kept & own).sum() >= allowed - 1e-6
            assert rank[kept & own].max(initial=0) < rank[flagged & ~kept & own].min()


@settings(deadline=None)
@given(
    classes=st.lists(st.integers(0, 3), min_size=1, max_size=80),
    share=st.floats(0, 1),
    keep=st.floats(0, 1),
    least=st.integers(0, 20),
    seed=st.integers(0, 99),
)
def test_each_class_keeps_its_share_and_its_least(classes, share, keep, least, seed):
    classes, n = np.array(classes), len(classes)
    rank = np.random.default_rng(seed).permutation(n) + 1
    flagged = protected(rank <= round(share * n), rank, classes, Protect(keep=keep, least=least))
    for one in np.unique(classes):
        own = classes == one
        left = (own & ~flagged).sum()
        assert left >= keep * own.sum() - 1e-6
        assert left >= min(least, own.sum())


def test_a_class_of_three_loses_none_by_default():
    classes = np.array([1, 1, 1] + [0] * 97)
    rank = np.arange(1, 101)
    for count in (3, 10, 50, 100):
        kept = protected(rank <= count, rank, classes, Protect())
        assert not kept[:3].any()
        assert (~kept[3:]).sum() >= 97 / 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, Protect()),
        (1, Protect(times=1)),
        (2.5, Protect(times=2.5)),
        ("off", "off"),
        (False, "off"),
        ({}, Protect()),
        ({"keep": 0.9, "least": 0}, Protect(keep=0.9, least=0)),
        (Protect(least=1), Protect(least=1)),
    ],
)
def test_values(value, expected):
    assert parse_protect(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, r"protect\.times: not a valid value\n  found: 0\.5\n  expected: greater than or equal to 1"),
        (float("nan"), r"protect\.times: not a valid value"),
        (float("inf"), r"protect\.times: not a valid value"),
        ("on", r"protect: not a section"),
        (True, r"protect: not a section"),
        (None, r"protect: not a section"),
        ({"keep": 2}, r"protect\.keep: not a valid value"),
        ({"leat": 2}, r"protect\.leat: unknown key; did you mean 'least'"),
    ],
)
def test_other_values(value, message):
    with pytest.raises(ConfigError, match=message):
        parse_protect(value, lambda key: ".".join(("protect", *map(str, key))))


def test_each_of_thousands_of_classes_is_limited_by_itself():
    generator = np.random.default_rng(0)
    classes, rank = generator.integers(0, 900, 4000), generator.permutation(4000) + 1
    rank[:50] = 0
    flagged = (rank > 0) & (rank <= 1500)
    kept = protected(flagged, rank, classes, Protect(times=1.2))
    share = flagged.sum() / (rank > 0).sum()
    for label in np.unique(classes):
        members = classes == label
        limit = Protect(times=1.2).limit(int((members & (rank > 0)).sum()), share)
        own = (members & flagged).nonzero()[0]
        assert sorted(own[rank[own].argsort()][:limit]) == (members & kept).nonzero()[0].tolist()
