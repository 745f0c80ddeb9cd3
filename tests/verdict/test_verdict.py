import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ogacli.run.scores import SCORE_COLUMNS, scores_table
from ogacli.verdict.budget import Budget
from ogacli.verdict.findings import TrueClass
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
    assert verdict.ranked().tolist() == [1, 4, 3, 0]


def test_what_a_detector_believes_is_suggested():
    """The model predicts the label everywhere; the detector knows better."""
    labels = [0, 1, 2, 0]
    true_class = TrueClass(torch.tensor([1, 1, 0, 2]), torch.tensor([0.9, 0.8, 0.45, 0.7]))
    wrong = torch.tensor([0.95, 0.2, 0.6, NAN], dtype=torch.float64)
    found = replace(findings([0.95, 0.2, 0.6, NAN], labels), true_class=true_class, wrong=wrong)
    verdict = judged(found, samples(labels), Budget(3))
    assert verdict.suggested_label.tolist() == [1, -1, 0, -1]
    table = scores_table(verdict, samples(labels))
    assert table["suggested_label"].to_pylist() == ["b", None, "a", None]
    assert table["confidence"].to_pylist() == pytest.approx([0.9, None, 0.45, None])
    assert table["reason"].to_pylist()[:3] == ["mislabelled", "atypical", "ambiguous"]
    plain = judged(findings([0.95, 0.2, 0.6, NAN], labels), samples(labels), Budget(3))
    assert plain.suggested_label.tolist() == [-1] * 4


def test_beliefs_that_are_judged_anew_replace_those_that_were_known():
    before = TrueClass(torch.tensor([1, -1, 0]), torch.tensor([0.9, NAN, 0.5]))
    beliefs = torch.tensor([[0.3, 0.7], [0.8, 0.2]]).log()
    found = before.replaced(torch.tensor([True, False, True]), TrueClass.of(beliefs))
    assert found.classes.tolist() == [1, -1, 0]
    assert found.confidence.tolist() == pytest.approx([0.7, NAN, 0.8], nan_ok=True)


def test_the_first_detector_decides():
    found = findings([1.0, 2.0], [0, 0], second=[2.0, 1.0])
    verdict = judged(found, samples([0, 0]), Budget(1))
    assert verdict.flagged.tolist() == [False, True]


def test_auto_flags_as_many_as_disagree():
    found = findings([1.0, 2.0, 3.0, NAN, 5.0, 0.0, 0.5, 0.6], [1, 0, 0, 1, 2, 1, 2, 1])
    verdict = judged(found, samples([0, 0, 1, 0, 2, 1, 2, 1]), Budget("auto"))
    flagged = [False, False, True, False, True, False, False, False]
    assert verdict.flagged.tolist() == flagged, "two of the seven that have a score"


def test_of_a_model_that_has_learned_nothing_auto_flags_nothing():
    labels = [0, 1, 2, 0, 1, 2]
    verdict = judged(findings([1.0] * 6, [0] * 6), samples(labels), Budget("auto"))
    assert verdict.estimate is None
    assert not verdict.flagged.any()


def test_nothing_is_flagged():
    verdict = judged(findings([1.0, 2.0], [0, 0]), samples([0, 0]), Budget(0))
    assert verdict.cut is None
    assert not verdict.flagged.any()


LAST = ["probability", "duplicate_of"]
"""Columns after the others."""
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


# --- the table ---------------------------------------------------------------------------------------------


def test_the_table_row_by_row():
    found = findings([1.0, 5.0, NAN, 6.0], [0, 2, 1, 1], l2=[0.1, 0.2, NAN, 0.4])
    given = samples([0, 1, 0, 1], truth=[0, 2, 0, 1])
    table = scores_table(judged(found, given, Budget(2)), given)
    assert table.column_names == [*SCORE_COLUMNS, "score_l2", "truth", *LAST, "agreement"]
    assert table.slice(1, 2).to_pylist() == [
        {
            "id": "1",
            "position": 10,
            "label": "b",
            "score": 5.0,
            "rank": 2,
            "flagged": True,
            "reason": "ambiguous",
            "suggested_label": "c",
            "confidence": pytest.approx(2 / 3),
            "status": "ok",
            "score_l2": 0.2,
            "truth": "c",
            "probability": pytest.approx(2 / 3),
            "duplicate_of": None,
            "agreement": 1.0,
        },
        {
            "id": "2",
            "position": 20,
            "label": "a",
            "score": None,
            "rank": None,
            "flagged": False,
            "reason": "why 2",
            "suggested_label": None,
            "confidence": None,
            "status": "quarantined",
            "score_l2": None,
            "truth": "a",
            "probability": None,
            "duplicate_of": None,
            "agreement": None,
        },
    ]
    assert table["reason"].to_pylist() == [None, "ambiguous", "why 2", "ambiguous"]
    assert table["confidence"].null_count == 3, "only where another label is suggested"


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], ("x", "y"), [["x"], []]),
        ([[0.0, 0.0], [0.0, 0.0]], ("x", "y"), [[], []]),
        ([0.5, -1.0], (), [0.5, -1.0]),
        ([[0.5], [-1.0]], (), [0.5, -1.0]),
        ([[0.5, 2.0], [-1.0, 0.0]], (), [[0.5, 2.0], [-1.0, 0.0]]),
    ],
)
def test_labels_that_are_not_one_class(labels, classes, expected):
    given = samples(labels, classes)
    table = scores_table(judged(findings([1.0, 2.0], [-1, -1]), given, Budget(1)), given)
    assert table["label"].to_pylist() == expected
    assert table["suggested_label"].to_pylist() == [None, None]
    assert table["suggested_label"].type == pa.string()
    assert table["reason"].to_pylist() == [None, "atypical"]


def test_a_prediction_that_is_no_class_of_the_data():
    given = samples([0, 1], ("x", "y"))
    table = scores_table(judged(findings([1.0, 2.0], [4, 1]), given, Budget(1)), given)
    assert table["suggested_label"].to_pylist() == ["output 4", None]


def test_columns_do_not_depend_on_what_is_found():
    """A quiet run and an eventful one can be concatenated."""
    given = samples([0, 1])
    quiet = scores_table(judged(findings([1.0, 2.0], [0, 1]), given, Budget(0)), given)
    loud = scores_table(judged(findings([NAN, 2.0], [0, 0]), given, Budget(1)), given)
    assert quiet.schema == loud.schema
    assert np.asarray(pa.concat_tables([quiet, loud])["position"]).tolist() == [0, 10, 0, 10]
