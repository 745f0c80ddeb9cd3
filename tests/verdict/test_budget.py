import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ogacli.errors import ConfigError
from ogacli.verdict.budget import BenefitOptions, Budget
from ogacli.verdict.ranks import flag, ranking

SCORES = st.lists(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=32), st.just(math.nan), st.just(1.0)),
    max_size=30,
)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (0.05, 0.05),
        ("0.05", 0.05),
        ("5%", 0.05),
        (" 5 %", 0.05),
        ("100%", 1.0),
        (1.0, 1.0),
        ("1.0", 1.0),
        (0.0, 0.0),
        (1, 1),
        ("1", 1),
        (200, 200),
        ("200", 200),
        (0, 0),
        ("1e-2", 0.01),
        ("auto", "auto"),
    ],
)
def test_what_is_a_budget(given, value):
    found = Budget.parse(given).value
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "given",
    [
        -1,
        "-1",
        -0.1,
        1.5,
        "150%",
        "-5%",
        "many",
        "",
        "%",
        "nan",
        math.nan,
        math.inf,
        True,
        None,
        [],
        "²",
        "1,000",
    ],
)
def test_what_is_none(given):
    with pytest.raises(ConfigError) as caught:
        Budget.parse(given, "--budget")
    message = str(caught.value)
    assert message.startswith("--budget: not a budget\n  found: ")
    assert repr(given) in message
    assert "a fraction such as 0.05 (or 5%), a count such as 200, or auto" in message


@pytest.mark.parametrize(
    ("value", "n", "count"),
    [
        (0.05, 100, 5),
        (0.05, 0, 0),
        (1.0, 7, 7),
        (0.0, 7, 0),
        (0.149, 10, 1),
        (0.151, 10, 2),
        (3, 10, 3),
        (30, 10, 10),
        ("auto", 10, 4),
    ],
)
def test_count(value, n, count):
    assert Budget(value).count(n, wrong=4) == count


@given(value=st.one_of(st.floats(0, 1), st.integers(0, 50)), n=st.integers(0, 40))
def test_a_count_is_possible_and_within_half_a_sample_of_the_share(value, n):
    count = Budget(value).count(n, 0)
    assert 0 <= count <= n
    if isinstance(value, float):
        assert abs(count - value * n) <= 0.5


@given(scores=SCORES, count=st.integers(0, 35))
def test_the_highest_are_flagged(scores, count):
    """Against a plain sort of (score, earlier first)."""
    found = flag(torch.tensor(scores), count)
    known = [i for i, score in enumerate(scores) if not math.isnan(score)]
    expected = set(sorted(known, key=lambda i: (-scores[i], i))[:count])
    assert set(found.nonzero()[:, 0].tolist()) == expected
    assert found.dtype == torch.bool


@given(scores=SCORES)
def test_ranking(scores):
    order = ranking(torch.tensor(scores)).tolist()
    assert sorted(order) == list(range(len(scores)))
    known = [i for i in order if not math.isnan(scores[i])]
    assert order[: len(known)] == known, "what has no score comes last"
    assert known == sorted(known, key=lambda i: (-scores[i], i))


def test_benefit_in_full_and_in_short():
    plain = Budget.parse("benefit")
    assert plain == Budget.parse({"benefit": None}) == Budget.parse({"benefit": {}})
    assert plain.benefit == BenefitOptions()
    full = {"amounts": [0.1, 0.02], "folds": 4, "seeds": 1, "probe": "network", "actions": ["weight", "trim"]}
    found = Budget.parse({"benefit": full})
    assert found.value == "benefit"
    assert found.benefit.amounts == (0, 0.02, 0.1)
    assert found.benefit.actions == ("weight", "trim")
    assert Budget.parse(found.plain) == found


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"benefit": {"folds": 1}}, "budget.benefit.folds"),
        ({"benefit": {"amounts": [1.0]}}, "budget.benefit.amounts"),
        ({"benefit": {"amounts": []}}, "budget.benefit.amounts"),
        ({"benefit": {"actions": ["drop"]}}, "budget.benefit.actions"),
        ({"benefit": {"probes": "head"}}, "budget.benefit.probes"),
        ({"benefit": 3}, "budget.benefit"),
        ({"review": "many"}, "budget.review"),
        ({"review": None}, "budget.review"),
        ({"review": 5, "benefit": {}}, "budget"),
        ({}, "budget"),
    ],
)
def test_a_mistake_in_a_budget_is_told_by_its_key(given, place):
    with pytest.raises(ConfigError) as caught:
        Budget.parse(given)
    assert str(caught.value).startswith(place)


def test_a_benefit_flags_the_chosen_amount_and_before_that_at_most_the_largest():
    found = Budget.parse("benefit")
    assert found.count(200, wrong=7) == 90
    assert found.chosen(0.1).count(200, wrong=7) == 20
    assert found.chosen(0.0).count(200, wrong=7) == 0


@pytest.mark.parametrize(("given", "count"), [(100, 100), (0.05, 10), ("5%", 10)])
def test_a_budget_for_review_counts_as_any_other(given, count):
    found = Budget.parse({"review": given})
    assert (found.review, found.count(200, wrong=7)) == (True, count)
    assert Budget.parse(found.plain) == found
