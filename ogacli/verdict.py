"""``Verdict``: the result of a scan, a row a sample.

In: the scores, predictions and failures that the scan collected, and a budget. Out: ranks, flags, reasons,
suggested labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.budget import Budget, flag, ranking
from ogacli.data import Samples

OK, QUARANTINED = "ok", "quarantined"
MISLABELLED, ATYPICAL = "mislabelled", "atypical"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the scan saw, row by row."""

    scores: Mapping[str, Float[Tensor, " n"]]
    """By detector; higher = more anomalous; NaN where the sample is quarantined. The first one decides."""
    predictions: Int64[Tensor, " n"]
    """The most probable class; -1 where there are no classes."""
    confidence: Float[Tensor, " n"]
    """The model's probability of the predicted class."""
    agreement: Float[Tensor, " n"]
    """The model's probability of the given label."""
    quarantined: Mapping[int, str]
    """Why a row could not be scored."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Per sample: the score, its rank, the flag and why."""

    findings: Findings
    score: Float[Tensor, " n"]
    rank: Int64[Tensor, " n"]
    """1 = most anomalous; 0 where the sample is quarantined."""
    flagged: Bool[Tensor, " n"]
    suggested: Int64[Tensor, " n"]
    """The predicted class where it differs from the label; -1 elsewhere."""
    budget: Budget
    cut: float | None
    """The lowest flagged score; None where nothing is flagged."""

    @property
    def scored(self) -> int:
        """How many samples have a score."""
        return len(self.score) - len(self.findings.quarantined)

    def ranked(self) -> Int64[Tensor, " m"]:
        """The rows of the scored samples, most anomalous first."""
        return ranking(self.score)[: self.scored]


def judge(findings: Findings, samples: Samples, budget: Budget) -> Verdict:
    """Apply the budget to the scores of the first detector."""
    score = next(iter(findings.scores.values()))
    scored = len(score) - len(findings.quarantined)
    if samples.categorical:
        differs = (findings.predictions != samples.labels) & ~score.isnan() & (findings.predictions >= 0)
    else:
        differs = torch.zeros(len(score), dtype=torch.bool)
    flagged = flag(score, budget.count(scored, int(differs.sum())))
    rank = torch.zeros(len(score), dtype=torch.int64)
    rank[ranking(score)[:scored]] = torch.arange(1, scored + 1)
    return Verdict(
        findings=findings,
        score=score,
        rank=rank,
        flagged=flagged,
        suggested=torch.where(differs, findings.predictions, -1),
        budget=budget,
        cut=float(score[flagged].min()) if flagged.any() else None,
    )


def scores_table(verdict: Verdict, samples: Samples) -> pa.Table:
    """``scores.parquet``: a row a sample, in the order of the samples."""
    findings = verdict.findings
    missing = torch.zeros(len(samples), dtype=torch.bool)
    missing[list(findings.quarantined)] = True
    none = missing.numpy()
    differs = (verdict.suggested >= 0).numpy()
    columns: dict[str, pa.Array] = {
        "id": samples.ids,
        "position": pa.array(samples.positions.numpy()),
        "label": label_column(samples, samples.labels),
        "score": pa.array(verdict.score.numpy(), mask=none),
        "rank": pa.array(verdict.rank.numpy(), mask=none),
        "flagged": pa.array(verdict.flagged.numpy()),
        "reason": _reasons(verdict),
        "suggested_label": _names(samples, verdict.suggested),
        "confidence": pa.array(findings.confidence.numpy(), mask=~differs),
        "status": pa.array([OK, QUARANTINED]).take(pa.array(none.astype("int8"))),
    }
    for name, score in list(findings.scores.items())[1:]:
        columns[f"score_{name}"] = pa.array(score.numpy(), mask=none)
    if samples.truth is not None:
        columns["truth"] = _names(samples, samples.truth)
    return pa.table(columns)


def label_column(samples: Samples, labels: Tensor) -> pa.Array:
    """Labels as a person writes them: class names, lists of class names, or numbers."""
    if samples.categorical:
        return _names(samples, labels)
    if labels.ndim == 1 or (not samples.classes and labels.shape[1] == 1):
        return pa.array(labels.flatten().numpy())
    if not samples.classes:
        return pa.array(labels.tolist())
    lists = [[samples.classes[i] for i in row.nonzero()[:, 0].tolist()] for row in labels]
    return pa.array(lists, pa.list_(pa.string()))


def _names(samples: Samples, labels: Tensor) -> pa.Array:
    """Class names, null for -1; an output of the model that is no class of the data has a number."""
    k, highest = len(samples.classes), int(labels.max()) if len(labels) else -1
    names = (*samples.classes, *(f"output {i}" for i in range(k, highest + 1)))
    return pa.array(names, pa.string()).take(pa.array(labels.numpy(), mask=(labels < 0).numpy()))


def _reasons(verdict: Verdict) -> pa.Array:
    """Why a sample is flagged, or quarantined; null elsewhere."""
    index = torch.where(verdict.flagged, (verdict.suggested < 0).long(), -1)
    column = pa.array([MISLABELLED, ATYPICAL]).take(pa.array(index.numpy(), mask=(index < 0).numpy()))
    quarantined = verdict.findings.quarantined
    if not quarantined:
        return column
    rows = torch.zeros(len(index), dtype=torch.bool)
    rows[list(quarantined)] = True
    reasons = pa.array([quarantined[row] for row in sorted(quarantined)])
    return pa.compute.replace_with_mask(column, pa.array(rows.numpy()), reasons)
