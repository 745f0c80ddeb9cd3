import json
import math

import numpy as np
import pytest
import torch

from ogacli.run.summarise import summarise
from ogacli.run.summary import Summary
from ogacli.verdict.budget import Budget
from ogacli.verdict.diagnosis import PERFECT
from ogacli.verdict.evaluation import evaluate
from ogacli.verdict.findings import Findings
from scored_samples import NAN, findings, judged, samples


def summary(found: Findings, given, budget=0.5, parameters=None) -> Summary:
    return summarise(
        judged(found, given, Budget(budget)), given, parameters or {"head.weight": 6, "head.bias": 2}
    )


def test_by_hand():
    found = summary(
        findings([1.0, 5.0, NAN, 3.0, 6.0], [0, 2, 1, 0, 2], l2=[0.0, 1.0, NAN, 5.0, 2.0]),
        samples([0, 1, 1, 0, 2], truth=[0, 2, 1, 0, 2]),
    )
    assert (found.samples, found.scored, found.flagged, found.quarantined) == (5, 4, 2, 1)
    assert (found.budget, found.cut) == (0.5, 5.0)
    assert found.detectors == ("first", "l2")
    assert (found.parameters, found.layers) == (8, ("head.weight", "head.bias"))
    assert {name: count for name, count in found.reasons.items() if count} == {"ambiguous": 2}
    assert [(c.name, c.samples, c.flagged, c.quarantined) for c in found.classes] == [
        ("a", 2, 0, 0),
        ("b", 2, 1, 1),
        ("c", 1, 1, 0),
    ]
    assert found.diagnosis.fit == 3 / 4
    assert found.diagnosis.mean_agreement == pytest.approx((1 + 0.75 + 0.25 + 0) / 4)
    assert found.diagnosis.warnings == ("1 sample could not be scored (quarantined): why 2 (1)",)


def test_each_detector_is_evaluated_at_the_same_budget():
    found = findings([1.0, 5.0, 2.0, 3.0], [0, 0, 0, 0], l2=[9.0, 1.0, 2.0, 3.0])
    given = samples([0, 1, 1, 0], truth=[0, 0, 1, 0])
    evaluation = summary(found, given, 1).evaluation
    wrong = torch.tensor([False, True, False, False])
    top = {"first": [False, True, False, False], "l2": [True, False, False, False]}
    assert evaluation == {
        name: evaluate(score, wrong, torch.tensor(top[name])) for name, score in found.scores.items()
    }
    assert evaluation["first"].precision_at_budget == 1.0
    assert evaluation["l2"].precision_at_budget == 0.0


def test_the_histogram_counts_every_score_once():
    score = [*np.random.default_rng(0).normal(size=200).tolist(), NAN, NAN]
    found = summary(findings(score, [0] * 202), samples([0] * 202)).histogram
    counts, edges = np.histogram(score[:200], bins=len(found.counts))
    assert (found.low, found.high) == (edges[0], edges[-1])
    assert sum(found.counts) == 200
    np.testing.assert_allclose(np.cumsum(found.counts), np.cumsum(counts), atol=1)


@pytest.mark.parametrize("value", [0.0, 3.5, 1e-300, 1e30, -1e30])
def test_scores_that_are_all_the_same(value):
    found = summary(findings([value] * 4, [0] * 4), samples([0] * 4)).histogram
    assert sum(found.counts) == 4
    assert found.low == found.high == value


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_a_model_that_knows_every_label_is_told(wrong):
    n = 300
    labels = [0, 1, 2] * 100
    predictions = [1] * wrong + labels[wrong:]
    wrong = sum(a != b for a, b in zip(predictions, labels, strict=True))
    diagnosis = summary(findings(np.arange(n) / n, predictions), samples(labels)).diagnosis
    assert diagnosis.fit == 1 - wrong / n
    warned = [text for text in diagnosis.warnings if "memorised the labels" in text]
    assert bool(warned) == (1 - wrong / n >= PERFECT)
    assert bool(warned) == ("earlier checkpoint" in diagnosis.advice)


def test_quarantined_samples_are_told_whatever_the_labels():
    found = findings([1.0, NAN, NAN], [-1, -1, -1])
    for given in (samples([0.5, 1.0, 2.0], ()), samples([[1.0, 0.0]] * 3, ("x", "y"))):
        diagnosis = summary(found, given).diagnosis
        assert diagnosis.warnings == ("2 samples could not be scored (quarantined): why 1 (1); why 2 (1)",)
        assert (diagnosis.fit, diagnosis.mean_agreement) == (None, None)


def test_without_predictions_there_is_no_fit():
    """A network of one output predicts no class; that is not a perfect fit."""
    found = summary(findings([1.0, 2.0], [-1, -1]), samples([0, 0], ("only",)))
    assert (found.diagnosis.fit, found.diagnosis.warnings) == (None, ())


@pytest.mark.parametrize("budget", [0.5, 1.0, 1, 3, "auto"])
def test_the_document_reads_as_itself(budget):
    found = summary(findings([1.0, 5.0, NAN], [0, 2, 1]), samples([0, 1, 1], truth=[0, 1, 2]), budget)
    text = found.model_dump_json()
    again = Summary.model_validate(json.loads(text))
    assert again == found
    assert type(again.budget) is type(found.budget)
    assert json.loads(text)["schema_version"] == 1
    assert not any(isinstance(value, float) and math.isnan(value) for value in json.loads(text).values())
