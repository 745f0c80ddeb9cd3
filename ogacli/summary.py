"""``summary.json``: what a scan found, in a page.

In: a ``Verdict`` and its ``Samples``. Out: a ``Summary``, which is the JSON document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ogacli.budget import flag
from ogacli.evaluation import Evaluation, evaluate

if TYPE_CHECKING:  # reading a summary needs no torch
    from torch import Tensor

    from ogacli.data import Samples
    from ogacli.stream import Rescored
    from ogacli.verdict import Verdict

SCHEMA_VERSION = 1
MEMORISED_FIT = 0.995
"""From this share of reproduced labels on, a checkpoint is suspected to know wrong labels by heart."""
_BINS = 60


class Document(BaseModel):
    """Base of the JSON documents."""

    model_config = ConfigDict(frozen=True)


class ClassSummary(Document):
    """One given label."""

    name: str
    samples: int
    flagged: int
    quarantined: int


class Histogram(Document):
    """Counts of the scores in equally wide bins from ``low`` to ``high``."""

    low: float
    high: float
    counts: tuple[int, ...]


class Diagnosis(Document):
    """How the checkpoint fits the given labels."""

    fit: float | None
    """Share of the scored samples whose prediction is the given label; None without classes."""
    mean_agreement: float | None
    """The model's mean probability of the given label."""
    warnings: tuple[str, ...]


class RescoredSummary(Document):
    """Samples scored once more in float32."""

    samples: int
    """Flagged ones and those near the cut."""
    changed: int
    """How many of them changed sides."""


class Summary(Document):
    """The result of a scan."""

    schema_version: int = SCHEMA_VERSION
    samples: int
    scored: int
    flagged: int
    quarantined: int
    budget: float | int | str
    cut: float | None
    """The lowest flagged score."""
    detectors: tuple[str, ...]
    """Score columns; the first decided."""
    parameters: int
    """p, how many parameters the gradients were taken with respect to."""
    layers: tuple[str, ...]
    """Their names."""
    reasons: dict[str, int]
    classes: tuple[ClassSummary, ...]
    histogram: Histogram | None
    diagnosis: Diagnosis
    rescored: RescoredSummary | None = None
    """After a pass in lower precision: what scoring once more in float32 changed."""
    evaluation: dict[str, Evaluation] | None
    """By detector, where the truth is known."""


def summarise(
    verdict: Verdict, samples: Samples, parameters: Mapping[str, int], rescored: Rescored | None = None
) -> Summary:
    """Count, and compare with the truth where it is known.

    Args:
        verdict: The result.
        samples: What was scanned.
        parameters: The parameters that the gradients were taken with respect to, and their sizes.
        rescored: What scoring once more in float32 changed, after a pass in lower precision.
    """
    findings = verdict.findings
    quarantined = len(findings.quarantined)
    mislabelled = int((verdict.flagged & (verdict.suggested >= 0)).sum())
    flagged = int(verdict.flagged.sum())
    evaluation = None
    if samples.truth is not None and samples.categorical:
        wrong = samples.truth != samples.labels
        evaluation = {name: _evaluate(verdict, score, wrong) for name, score in findings.scores.items()}
    return Summary(
        samples=len(samples),
        scored=verdict.scored,
        flagged=flagged,
        quarantined=quarantined,
        budget=verdict.budget.value,
        cut=verdict.cut,
        detectors=tuple(findings.scores),
        parameters=sum(parameters.values()),
        layers=tuple(parameters),
        reasons={"mislabelled": mislabelled, "atypical": flagged - mislabelled},
        classes=_classes(verdict, samples),
        histogram=_histogram(verdict.score),
        diagnosis=_diagnose(verdict, samples),
        rescored=None
        if rescored is None
        else RescoredSummary(samples=rescored.samples, changed=rescored.changed),
        evaluation=evaluation,
    )


def _evaluate(verdict: Verdict, score: Tensor, wrong: Tensor) -> Evaluation:
    """Each detector at the same budget: its own highest scores."""
    return evaluate(score, wrong, flag(score, int(verdict.flagged.sum())))


def _classes(verdict: Verdict, samples: Samples) -> tuple[ClassSummary, ...]:
    if not samples.categorical:
        return ()
    k = len(samples.classes)
    rows = sorted(verdict.findings.quarantined)
    counts = samples.labels.bincount(minlength=k).tolist()
    flagged = samples.labels[verdict.flagged].bincount(minlength=k).tolist()
    quarantined = samples.labels[rows].bincount(minlength=k).tolist()
    return tuple(
        ClassSummary(name=name, samples=counts[i], flagged=flagged[i], quarantined=quarantined[i])
        for i, name in enumerate(samples.classes)
    )


def _histogram(score: Tensor) -> Histogram | None:
    known = score[~score.isnan()]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    counts = known.histc(bins=_BINS, min=low, max=high if high > low else low + 1)
    return Histogram(low=low, high=high, counts=tuple(int(count) for count in counts.tolist()))


def _diagnose(verdict: Verdict, samples: Samples) -> Diagnosis:
    fit = agreement = None
    warnings = []
    predicted = verdict.findings.predictions >= 0
    known = predicted & ~verdict.score.isnan()
    if samples.categorical and known.any():
        fit = 1 - int((verdict.suggested >= 0).sum()) / int(known.sum())
        agreement = float(verdict.findings.agreement[known].mean())
        if fit >= MEMORISED_FIT:
            warnings.append(
                f"the model reproduces {fit:.1%} of the given labels: it may know wrong ones by heart, and "
                "its gradients then say little; prefer an earlier checkpoint"
            )
    if verdict.findings.quarantined:
        count = len(verdict.findings.quarantined)
        noun = "sample" if count == 1 else "samples"
        warnings.append(f"{count:,} {noun} could not be scored (quarantined)")
    return Diagnosis(fit=fit, mean_agreement=agreement, warnings=tuple(warnings))
