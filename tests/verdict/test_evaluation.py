import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics

from ogacli.verdict.evaluation import Evaluation, evaluate


def tensors(*columns):
    return [torch.tensor(column) for column in columns]


def test_by_hand():
    """Four samples; the two wrong ones are first and third."""
    found = evaluate(*tensors([4.0, 3.0, 2.0, 1.0], [True, False, True, False], [True, True, False, False]))
    assert found.auroc == pytest.approx(3 / 4)
    assert found.average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert found.precision_at_budget == 1 / 2
    assert found.recall_at_budget == 1 / 2
    assert found.f1_at_budget == 1 / 2
    assert found.wrong == 2


@given(
    rows=st.lists(
        st.tuples(st.floats(-5, 5, width=16), st.booleans(), st.booleans()), min_size=2, max_size=40
    )
)
def test_against_scikit_learn(rows):
    score, wrong, flagged = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < wrong.sum() < len(wrong))
    found = evaluate(*tensors(score.astype(np.float64), wrong, flagged))
    assert found.auroc == pytest.approx(metrics.roc_auc_score(wrong, score))
    assert found.average_precision == pytest.approx(metrics.average_precision_score(wrong, score))
    assert found.recall_at_budget == pytest.approx(metrics.recall_score(wrong, flagged))
    assert found.f1_at_budget == pytest.approx(metrics.f1_score(wrong, flagged))
    if flagged.any():
        assert found.precision_at_budget == pytest.approx(metrics.precision_score(wrong, flagged))


def test_auroc_is_the_chance_that_a_wrong_one_is_higher():
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(0, 6, (50,), generator=generator).double()
    wrong = torch.rand(50, generator=generator) < 0.3
    pairs = [(a > b) + (a == b) / 2 for a in score[wrong].tolist() for b in score[~wrong].tolist()]
    assert evaluate(score, wrong, wrong).auroc == pytest.approx(sum(pairs) / len(pairs))


def test_quarantined_samples_are_left_out():
    with_lost = evaluate(
        *tensors(
            [4.0, math.nan, 3.0, 2.0, math.nan],
            [True, True, False, True, False],
            [True, True, True, False, True],
        )
    )
    assert with_lost == evaluate(*tensors([4.0, 3.0, 2.0], [True, False, True], [True, True, False]))


@pytest.mark.parametrize("wrong", [True, False])
def test_what_is_not_defined(wrong):
    found = evaluate(*tensors([1.0, 2.0], [wrong, wrong], [False, False]))
    assert found == Evaluation(
        auroc=None,
        average_precision=None,
        precision_at_budget=None,
        recall_at_budget=0.0 if wrong else None,
        f1_at_budget=0.0 if wrong else None,
        wrong=2 * wrong,
    )
