"""``summary.json``: what a scan found, in a page.

In: a ``Verdict`` and its ``Samples``. Out: a ``Summary``, which is the JSON document.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ogacli.verdict.budget import flag
from ogacli.verdict.diagnosis import Diagnosis, diagnose
from ogacli.verdict.estimate import Estimate
from ogacli.verdict.evaluation import Evaluation, evaluate
from ogacli.verdict.reasons import REASONS

if TYPE_CHECKING:  # reading a summary needs no torch
    from torch import Tensor

    from ogacli.data import Samples
    from ogacli.scan.passes import Rescored
    from ogacli.verdict.verdict import Verdict

SCHEMA_VERSION = 1
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
    held_back: int = 0
    """Within the budget, but not flagged, so that the class is not trimmed away."""


class Histogram(Document):
    """Counts of the scores in equally wide bins from ``low`` to ``high``."""

    low: float
    high: float
    counts: tuple[int, ...]


class Consensus(Document):
    """How far several detectors agree, each flagging as many samples as the budget allows."""

    detectors: int
    any: int
    """Samples that at least one of them flags."""
    all: int
    """Samples that all of them flag."""


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
    estimate: Estimate | None = None
    """The share of the scored samples whose label is wrong, as far as can be told; None without classes."""
    cut: float | None
    """The lowest flagged score."""
    detectors: tuple[str, ...]
    """Score columns; the first decided."""
    parameters: int
    """p, how many parameters the gradients were taken with respect to."""
    layers: tuple[str, ...]
    """Their names."""
    reasons: dict[str, int]
    held_back: int = 0
    """Within the budget, but not flagged, so that their classes are not trimmed away."""
    duplicates: int = 0
    """Samples, flagged or not, that have the same inputs as one of another label."""
    consensus: Consensus | None = None
    """Where there are several detectors."""
    overlap: dict[str, float] = {}
    """By detector that is drawn by lot: the share of what it flags that two halves of it have in common; of
    several checkpoints the last one's."""
    classes: tuple[ClassSummary, ...]
    histogram: Histogram | None
    diagnosis: Diagnosis
    rescored: RescoredSummary | None = None
    """After a pass in lower precision: what scoring once more in float32 changed."""
    evaluation: dict[str, Evaluation] | None
    """By detector, where the truth is known."""


def summarise(
    verdict: Verdict,
    samples: Samples,
    parameters: Mapping[str, int],
    rescored: Rescored | None = None,
    overlap: Mapping[str, float] = MappingProxyType({}),
) -> Summary:
    """Count, and compare with the truth where it is known.

    Args:
        verdict: The result.
        samples: What was scanned.
        parameters: The parameters that the gradients were taken with respect to, and their sizes.
        rescored: What scoring once more in float32 changed, after a pass in lower precision.
        overlap: By detector, how much two halves of it have in common.
    """
    findings = verdict.findings
    quarantined = len(findings.quarantined)
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
        estimate=verdict.estimate,
        cut=verdict.cut,
        detectors=tuple(findings.scores),
        parameters=sum(parameters.values()),
        layers=tuple(parameters),
        reasons=_reasons(verdict),
        held_back=int(verdict.held_back.sum()),
        duplicates=int((verdict.notes.duplicate_of >= 0).sum()),
        consensus=_consensus(verdict),
        overlap=dict(overlap),
        classes=_classes(verdict, samples),
        histogram=_histogram(verdict.score),
        diagnosis=diagnose(findings, verdict.notes, samples.labels),
        rescored=None
        if rescored is None
        else RescoredSummary(samples=rescored.samples, changed=rescored.changed),
        evaluation=evaluation,
    )


def _evaluate(verdict: Verdict, score: Tensor, wrong: Tensor) -> Evaluation:
    """Each detector at the same budget: its own highest scores; of the one that decided, what is flagged."""
    flagged = verdict.flagged if score is verdict.score else flag(score, int(verdict.flagged.sum()))
    return evaluate(score, wrong, flagged)


def _reasons(verdict: Verdict) -> dict[str, int]:
    counts = verdict.reasons[verdict.flagged].bincount(minlength=len(REASONS)).tolist()
    return dict(zip(REASONS, counts, strict=True))


def _consensus(verdict: Verdict) -> Consensus | None:
    several = len(verdict.findings.scores)
    if several == 1:
        return None
    agreement = verdict.agreement
    return Consensus(detectors=several, any=int((agreement > 0).sum()), all=int((agreement == 1).sum()))


def _classes(verdict: Verdict, samples: Samples) -> tuple[ClassSummary, ...]:
    """How many samples have each class; one with several classes is counted in each of them."""
    k = len(samples.classes)
    if not k:
        return ()

    def count(labels: Tensor) -> list[int]:
        found = labels.bincount(minlength=k) if samples.categorical else labels.double().sum(0)
        return [int(number) for number in found]

    counts, flagged = count(samples.labels), count(samples.labels[verdict.flagged])
    quarantined = count(samples.labels[sorted(verdict.findings.quarantined)])
    held_back = count(samples.labels[verdict.held_back])
    return tuple(
        ClassSummary(
            name=name,
            samples=counts[i],
            flagged=flagged[i],
            quarantined=quarantined[i],
            held_back=held_back[i],
        )
        for i, name in enumerate(samples.classes)
    )


def _histogram(score: Tensor) -> Histogram | None:
    known = score[~score.isnan()]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    end = high if high > low else low + max(1.0, abs(low))
    counts = known.histc(bins=_BINS, min=low, max=end)
    return Histogram(low=low, high=high, counts=tuple(int(count) for count in counts.tolist()))
