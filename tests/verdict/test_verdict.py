import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ogacli.verdict.budget import Budget
from ogacli.verdict.findings import TrueClass
from ogacli.verdict.reasons import REASONS
from scored_samples import NAN, findings, judged, samples


def test_by_hand():
    verdict = judged(
        findings([1.0, 5.0, NAN, 3.0, 5.0], [0, 2, 1, 0, 2]), samples([0, 1, 1, 0, 2]), Budget(0.5)
    )
    assert verdict.scored == 4
    assert verdict.flagged.tolist() == [False, True, False, False, True]
    assert verdict.rank.tolist() == [4, 1, 0, 3, 2]
    assert verdict.suggested_label.tolist() == [-1, 2, -1, -1, -1]
    assert verdict.cut == 5.0
    assert verdict.first(4).tolist() == [1, 4, 3, 0]


def test_the_true_class_of_a_detector_is_suggested():
    """The model predicts the label everywhere; the detector finds other true classes."""
    labels = [0, 1, 2, 0]
    true_class = TrueClass(torch.tensor([1, 1, 0, 2]), torch.tensor([0.9, 0.8, 0.45, 0.7]))
    wrong = torch.tensor([0.95, 0.2, 0.6, NAN], dtype=torch.float64)
    found = replace(findings([0.95, 0.2, 0.6, NAN], labels), true_class=true_class, wrong=wrong)
    verdict = judged(found, samples(labels), Budget(3))
    assert verdict.suggested_label.tolist() == [1, -1, 0, -1]
    assert [REASONS[i] for i in verdict.reason()[:3]] == ["mislabelled", "atypical", "ambiguous"]
    plain = judged(findings([0.95, 0.2, 0.6, NAN], labels), samples(labels), Budget(3))
    assert plain.suggested_label.tolist() == [-1] * 4


def test_true_classes_of_a_refitted_detector_replace_the_earlier_ones():
    before = TrueClass(torch.tensor([1, -1, 0]), torch.tensor([0.9, NAN, 0.5]))
    log_probabilities = torch.tensor([[0.3, 0.7], [0.8, 0.2]]).log()
    found = before.replaced(torch.tensor([True, False, True]), TrueClass.of(log_probabilities))
    assert found.classes.tolist() == [1, -1, 0]
    assert found.confidence.tolist() == pytest.approx([0.7, NAN, 0.8], nan_ok=True)


def test_the_first_detector_decides():
    found = findings([1.0, 2.0], [0, 0], second=[2.0, 1.0])
    verdict = judged(found, samples([0, 0]), Budget(1))
    assert verdict.flagged.tolist() == [False, True]


def test_auto_flags_as_many_as_are_estimated_wrong():
    """A tenth of the labels are contradicted, however sure the model is; the scores say which."""
    labels = [i % 2 for i in range(400)]
    predictions = [1 - label if i % 10 == 0 else label for i, label in enumerate(labels)]
    scores = [1.0 - i / 1000 if i % 10 == 0 else i / 1000 for i in range(400)]
    found = replace(findings(scores, predictions), prediction_probability=torch.linspace(0.5, 1, 400))
    verdict = judged(found, samples(labels), Budget("auto"))
    count = verdict.estimate.count(400)
    assert 25 <= count <= 45
    assert int(verdict.flagged.sum()) == count
    assert int(verdict.flagged[::10].sum()) == min(count, 40)


def test_of_a_model_that_has_learned_nothing_auto_flags_nothing():
    labels = [0, 1, 2, 0, 1, 2]
    verdict = judged(findings([1.0] * 6, [0] * 6), samples(labels), Budget("auto"))
    assert verdict.estimate.share is None
    assert not verdict.flagged.any()


def test_nothing_is_flagged():
    verdict = judged(findings([1.0, 2.0], [0, 0]), samples([0, 0]), Budget(0))
    assert verdict.cut is None
    assert not verdict.flagged.any()


SCORES = st.lists(st.one_of(st.floats(-9, 9), st.just(NAN)), min_size=1, max_size=20)


@given(score=SCORES, budget=st.one_of(st.floats(0, 1), st.integers(0, 25)))
def test_ranks_flags_and_cut_agree(score, budget):
    n = len(score)
    verdict = judged(findings(score, [0] * n), samples([0] * n), Budget(budget))
    known = [row for row in range(n) if not math.isnan(score[row])]
    assert sorted(verdict.rank[known].tolist()) == list(range(1, len(known) + 1))
    assert all(verdict.rank[row] == 0 for row in range(n) if row not in known)
    flagged = verdict.flagged.nonzero()[:, 0].tolist()
    assert sorted(verdict.rank[flagged].tolist()) == list(range(1, len(flagged) + 1))
    assert len(flagged) == Budget(budget).count(len(known), 0)
    if flagged:
        assert verdict.cut == min(score[row] for row in flagged)
        assert all(score[row] <= verdict.cut for row in known if row not in flagged)
