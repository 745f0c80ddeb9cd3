"""Samples with labels, and what a scan would have found of them, in a line each."""

import math

import torch

from ogacli.data import Samples
from ogacli.data.ids import numbered
from ogacli.verdict.findings import Findings
from ogacli.verdict.judge import Verdict, judge
from synthetic_runs import NoReader

NAN = math.nan


def samples(labels, classes=("a", "b", "c"), truth=None) -> Samples:
    labels = torch.tensor(labels)
    return Samples(
        ids=numbered(len(labels)),
        positions=torch.arange(len(labels)) * 10,
        labels=labels,
        classes=classes,
        reader=NoReader(),
        signature="test",
        truth=None if truth is None else torch.tensor(truth),
    )


def findings(score, predictions, **others) -> Findings:
    n = len(score)
    return Findings(
        scores={"first": torch.tensor(score, dtype=torch.float64)}
        | {name: torch.tensor(column, dtype=torch.float64) for name, column in others.items()},
        predictions=torch.tensor(predictions),
        prediction_probability=torch.linspace(0.5, 1, n),
        probability=torch.linspace(1, 0, n),
        quarantined={row: f"why {row}" for row in range(n) if math.isnan(score[row])},
    )


def judged(found: Findings, given: Samples, *arguments) -> Verdict:
    """The verdict on samples, whatever kind of label they have."""
    return judge(found, given.class_index, *arguments)
