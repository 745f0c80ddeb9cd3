"""Conditions that are on by default: no class is emptied, no label flagged that is probably right."""

from dataclasses import replace

import pytest
import torch

from ogacli.run.digest import write_scores
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from ogacli.run.scores import scores_table
from ogacli.run.summarise import summarise
from ogacli.verdict.budget import Budget
from ogacli.verdict.judge import judge
from scored_samples import findings, samples
from synthetic_runs import Recipe


def condition(run, name, **policy):
    return next(one for one in gate(run, policy=policy).conditions if one.name == name)


def test_a_class_that_would_be_emptied(tmp_path):
    labels = [0] * 60 + [1] * 3 + [2] * 3
    scores = [i / 128 for i in range(60)] + [1.0, 1.5, 2.0] + [0.0] * 3
    recipe = Recipe(
        n=66,
        classes=("cat", "dog", "frog", "newt"),
        labels=labels,
        scores=scores,
        budget=3,
        quarantined={63: "broken", 64: "broken"},
    )
    run = recipe.write(tmp_path / "run")
    found = condition(run, "min_left_per_class")
    assert (found.status, found.found, found.allowed) == ("failed", "0 of 3 left", "at least 1")
    assert not gate(run, policy={"max_quarantined": 1.0}).passed
    found = condition(run, "min_left_per_class", min_left_per_class=2)
    assert found.detail == "left of the class 'dog': 0 of 3, 'frog': 1 of 3"
    assert not [
        one for one in gate(run, policy={"min_left_per_class": None}).conditions if "left" in one.name
    ]


def probable(tmp_path, wrong, budget):
    """A run that is scored by the probability of a wrong label."""
    n = len(wrong)
    given = samples([0, 1] * (n // 2), ("cat", "dog"))
    found = replace(findings(wrong, [0, 1] * (n // 2)), wrong=torch.tensor(wrong, dtype=torch.float64))
    verdict = judge(found, given.class_index, Budget.parse(budget), "off")
    run = Recipe(n=n).write(tmp_path / "run")
    summary = summarise(verdict, given, {"head.weight": 3})
    document = summary.model_dump(mode="json")
    table = scores_table(verdict, given)
    write_scores(run.path / "scores.parquet", [table], document, dictionaries=(), rows=8)
    (run.path / "summary.json").write_text(summary.model_dump_json())
    return Run.open(run.path)


WRONG = [0.9, 0.8, 0.7, 0.45, 0.1, 0.1, 0.1, 0.0]


@pytest.mark.parametrize(
    ("budget", "status", "found"),
    [(3, "passed", "0.700"), (4, "failed", "0.450"), (0, "skipped", ""), ({"review": 4}, "skipped", "")],
)
def test_labels_that_are_more_probably_right_than_wrong(tmp_path, budget, status, found):
    run = probable(tmp_path, WRONG, budget)
    told = condition(run, "min_cut")
    assert (told.status, told.found) == (status, found)
    if status == "failed":
        assert told.detail == "flagged labels that are more probably right than wrong: 1 of 4 (25.0%)"
        assert condition(run, "min_cut", min_cut=0.4).passed
        assert run.summary.below_half == pytest.approx(run.counts.probably_right / run.counts.flagged)


def test_scores_that_are_no_probabilities_have_no_such_cut(tmp_path):
    found = condition(Recipe().write(tmp_path / "run"), "min_cut")
    assert (found.status, found.detail) == ("skipped", "scores are no probabilities of a wrong label")


def test_an_unknown_share_is_told_and_fails_on_request(tmp_path):
    run = Recipe(suggested={3: 0, 9: 2, 12: 1}).write(tmp_path / "run")
    assert run.summary.estimate.share is None
    found = condition(run, "require_estimate")
    assert (found.status, found.found[:7], found.detail) == ("warned", "unknown", run.summary.estimate.reason)
    assert condition(run, "require_estimate", require_estimate=True).status == "failed"
    numbers = Recipe(classes=(), labels=[i / 4 for i in range(32)]).write(tmp_path / "numbers")
    assert "require_estimate" not in [one.name for one in gate(numbers).conditions]
