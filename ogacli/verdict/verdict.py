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

from ogacli.data import Samples
from ogacli.verdict.budget import Budget, flag, ranking
from ogacli.verdict.estimate import Estimate, estimate
from ogacli.verdict.protection import DEFAULT, Protect, protected
from ogacli.verdict.reasons import REASONS, reasons

OK, QUARANTINED = "ok", "quarantined"


@dataclass(frozen=True, slots=True)
class Believed:
    """What a detector believes to be the true class of each sample."""

    classes: Int64[Tensor, " n"]
    """The most probable one; -1 where nothing is known."""
    confidence: Float[Tensor, " n"]
    """Its probability; float32."""

    @classmethod
    def of(cls, beliefs: Float[Tensor, "n k"]) -> "Believed":
        """From the logarithms of the probabilities of all classes."""
        highest, classes = beliefs.max(1)
        return cls(classes, highest.exp().float())

    def replaced(self, known: Bool[Tensor, " n"], by: "Believed") -> "Believed":
        """With others in the place of some."""
        return Believed(
            self.classes.masked_scatter(known, by.classes),
            self.confidence.masked_scatter(known, by.confidence),
        )


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
    entropy: Float[Tensor, " n"] | None = None
    """Of the model's probabilities, in nats; None where it was not looked at."""
    several: bool = False
    """Whether a row is the mean over several checkpoints of one training."""
    wrong: Float[Tensor, " n"] | None = None
    """The probability that the given label is wrong, where a detector tells; NaN as the scores."""
    believed: Believed | None = None
    """What that detector takes for the true class, or the model where none tells."""

    @property
    def most_probable(self) -> Believed:
        """By the detector, or the model: the class that is suggested where it is not the label."""
        return self.believed or Believed(self.predictions, self.confidence)

    @property
    def belief_in_label(self) -> Float[Tensor, " n"]:
        """The probability of the given label, by the detector or the model; NaN without classes."""
        if self.wrong is not None:
            return (1 - self.wrong).float()
        return self.agreement.masked_fill(self.predictions < 0, torch.nan)


@dataclass(frozen=True, slots=True)
class Notes:
    """What else is known of the samples, beside what they were scored by."""

    duplicate_of: Int64[Tensor, " n"]
    """The first row of the same inputs that has another label; -1 where there is none."""
    blank: Bool[Tensor, " n"]
    """Whether the input has the same value everywhere."""
    rows: Int64[Tensor, " m"]
    """Some rows."""
    features: Float[Tensor, "m d"]
    """Their features, maybe projected; finite."""
    held_out: bool = False
    """Whether each sample was scored by a checkpoint that was not trained on it."""
    by_neighbours: bool = False
    """Whether the predictions are those of a sample's neighbours."""

    @classmethod
    def none(cls, n: int) -> "Notes":
        """Nothing is known of n samples."""
        nobody = torch.full((n,), -1)
        return cls(nobody, torch.zeros(n, dtype=torch.bool), nobody[:0], torch.empty(0, 1))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Per sample: the score, its rank, the flag and why."""

    findings: Findings
    notes: Notes
    score: Float[Tensor, " n"]
    rank: Int64[Tensor, " n"]
    """1 = most anomalous; 0 where the sample is quarantined."""
    flagged: Bool[Tensor, " n"]
    held_back: Bool[Tensor, " n"]
    """Within the budget, but not flagged, so that its class is not trimmed away."""
    suggested: Int64[Tensor, " n"]
    """The most probable class where it differs from the label; -1 elsewhere."""
    budget: Budget
    estimate: Estimate | None
    """How many labels are wrong; None without classes."""
    cut: float | None
    """The lowest flagged score; None where nothing is flagged."""

    @property
    def agreement(self) -> Float[Tensor, " n"]:
        """The share of the detectors that flag a sample, each as many samples as the budget allows."""
        count = int((self.flagged | self.held_back).sum())
        return torch.stack([flag(score, count) for score in self.findings.scores.values()]).double().mean(0)

    @property
    def reasons(self) -> Int64[Tensor, " n"]:
        """For each sample an index into ``REASONS``: why it would be flagged."""
        return torch.from_numpy(
            reasons(
                differs=(self.suggested >= 0).numpy(),
                confidence=self.findings.most_probable.confidence.numpy(),
                probability=self.findings.belief_in_label.numpy(),
                duplicate=(self.notes.duplicate_of >= 0).numpy(),
                blank=self.notes.blank.numpy(),
            )
        )

    @property
    def scored(self) -> int:
        """How many samples have a score."""
        return len(self.score) - len(self.findings.quarantined)

    def ranked(self) -> Int64[Tensor, " m"]:
        """The rows of the scored samples, most anomalous first."""
        return ranking(self.score)[: self.scored]


def judge(
    findings: Findings,
    samples: Samples,
    budget: Budget,
    protect: Protect = DEFAULT,
    notes: Notes | None = None,
) -> Verdict:
    """Apply the budget to the scores of the first detector.

    Args:
        findings: What the scan saw.
        samples: What was scanned.
        budget: How much to flag.
        protect: How many times the share of all that is flagged may be flagged of one class.
        notes: What else is known; nothing where left out.
    """
    score = next(iter(findings.scores.values()))
    scored = len(score) - len(findings.quarantined)
    classes = findings.most_probable.classes
    if samples.categorical:
        differs = (classes != samples.labels) & ~score.isnan() & (classes >= 0)
    else:
        differs = torch.zeros(len(score), dtype=torch.bool)
    notes = notes or Notes.none(len(score))
    wrong = estimate(findings, samples.labels, held_out=notes.held_out) if samples.categorical else None
    flagged = flag(score, budget.count(scored, wrong.count(scored) if wrong else 0))
    rank = torch.zeros(len(score), dtype=torch.int64)
    rank[ranking(score)[:scored]] = torch.arange(1, scored + 1)
    within = flagged
    if samples.categorical:
        stays = protected(within.numpy(), rank.numpy(), samples.labels.numpy(), protect)
        flagged = torch.from_numpy(stays)
    return Verdict(
        findings=findings,
        notes=notes,
        score=score,
        rank=rank,
        flagged=flagged,
        held_back=within & ~flagged,
        suggested=torch.where(differs, classes, -1),
        budget=budget,
        estimate=wrong,
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
        "confidence": pa.array(findings.most_probable.confidence.numpy(), mask=~differs),
        "status": pa.array([OK, QUARANTINED]).take(pa.array(none.astype("int8"))),
    }
    for name, score in list(findings.scores.items())[1:]:
        columns[f"score_{name}"] = pa.array(score.numpy(), mask=none)
    if samples.truth is not None:
        columns["truth"] = _names(samples, samples.truth)
    columns["probability"] = pa.array(
        findings.agreement.numpy(), mask=none | findings.agreement.isnan().numpy()
    )
    twin = verdict.notes.duplicate_of.numpy()
    columns["duplicate_of"] = samples.ids.take(pa.array(twin, mask=twin < 0))
    if len(findings.scores) > 1:
        columns["agreement"] = pa.array(verdict.agreement.numpy(), mask=none)
    return pa.table(columns)


def label_column(samples: Samples, labels: Tensor) -> pa.Array:
    """Labels as a person writes them: class names, lists of class names, or numbers."""
    if samples.categorical:
        return _names(samples, labels)
    if labels.ndim == 1 or (not samples.classes and labels.shape[1] == 1):
        return pa.array(labels.flatten().numpy())
    if not samples.classes:
        return pa.array(labels.tolist()) if labels.shape[1] else pa.nulls(len(labels), pa.string())
    lists = [[samples.classes[i] for i in row.nonzero()[:, 0].tolist()] for row in labels]
    return pa.array(lists, pa.list_(pa.string()))


def _names(samples: Samples, labels: Tensor) -> pa.Array:
    """Class names, null for -1; an output of the model that is no class of the data has a number."""
    k, highest = len(samples.classes), int(labels.max()) if len(labels) else -1
    names = (*samples.classes, *(f"output {i}" for i in range(k, highest + 1)))
    return pa.array(names, pa.string()).take(pa.array(labels.numpy(), mask=(labels < 0).numpy()))


def _reasons(verdict: Verdict) -> pa.Array:
    """Why a sample is flagged, or quarantined; null elsewhere."""
    index = verdict.reasons
    column = pa.array(REASONS).take(pa.array(index.numpy(), mask=~verdict.flagged.numpy()))
    quarantined = verdict.findings.quarantined
    if not quarantined:
        return column
    rows = torch.zeros(len(index), dtype=torch.bool)
    rows[list(quarantined)] = True
    reasons = pa.array([quarantined[row] for row in sorted(quarantined)])
    return pa.compute.replace_with_mask(column, pa.array(rows.numpy()), reasons)
