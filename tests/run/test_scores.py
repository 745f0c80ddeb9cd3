"""``scores_table``: a verdict as the table of ``scores.parquet``."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from ogacli.run.scores import SCORE_COLUMNS, scores_table
from ogacli.verdict.budget import Budget
from ogacli.verdict.findings import TrueClass
from scored_samples import NAN, findings, judged, samples

LAST = ["probability", "given_label_probability", "duplicate_of", "fingerprint"]
"""Columns after the others."""


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
            "given_label_probability": pytest.approx(2 / 3),
            "duplicate_of": None,
            "fingerprint": None,
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
            "given_label_probability": None,
            "duplicate_of": None,
            "fingerprint": None,
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


def test_the_true_class_and_its_confidence_are_those_of_the_detector():
    labels = [0, 1, 2, 0]
    true_class = TrueClass(torch.tensor([1, 1, 0, 2]), torch.tensor([0.9, 0.8, 0.45, 0.7]))
    wrong = torch.tensor([0.95, 0.2, 0.6, NAN], dtype=torch.float64)
    found = replace(findings([0.95, 0.2, 0.6, NAN], labels), true_class=true_class, wrong=wrong)
    table = scores_table(judged(found, samples(labels), Budget(3)), samples(labels))
    assert table["suggested_label"].to_pylist() == ["b", None, "a", None]
    assert table["confidence"].to_pylist() == pytest.approx([0.9, None, 0.45, None])
    assert table["reason"].to_pylist()[:3] == ["mislabelled", "atypical", "ambiguous"]


def test_a_fingerprint_of_inputs_and_label():
    content = torch.tensor([5, 5, 0, 5])
    given = samples([0, 1, 0, 0])
    found = replace(findings([1.0, 2.0, NAN, 3.0], [0, 1, 0, 0]), content=content)
    marks = scores_table(judged(found, given, Budget(1)), given)["fingerprint"].to_pylist()
    assert marks[2] is None, "it could not be read"
    assert marks[0] == marks[3] != marks[1], "the same inputs with another label"
    assert all(len(mark) == 16 and int(mark, 16) >= 0 for mark in marks if mark)
    lower = samples([1, 0, 1, 1], ("b", "a", "c"))
    same = replace(findings([1.0, 2.0, NAN, 3.0], [1, 0, 1, 1]), content=content)
    assert scores_table(judged(same, lower, Budget(1)), lower)["fingerprint"].to_pylist() == marks
