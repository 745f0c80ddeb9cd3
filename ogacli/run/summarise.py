"""A verdict in figures.

In: a ``Verdict`` and its ``Samples``. Out: a ``Summary``, which is the JSON document.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from ogacli.base.blocks import blocks
from ogacli.data import Samples
from ogacli.run.annotators import annotator_summaries
from ogacli.run.issues import DOUBTFUL, FORGOTTEN, GIVEN, by_class, cell_names, counted, issues_table
from ogacli.run.summary import (
    CellSummary,
    ClassSummary,
    Consensus,
    Histogram,
    NearDuplicates,
    RescoredSummary,
    Summary,
)
from ogacli.run.words import EntitySummary, entity_summaries, has_words
from ogacli.verdict.benefit import Benefit
from ogacli.verdict.cells import systematic
from ogacli.verdict.diagnosis import CheckpointDiagnosis, diagnose
from ogacli.verdict.evaluation import Evaluation, evaluate
from ogacli.verdict.judge import Verdict
from ogacli.verdict.precision import FIRST, ExpectedPrecision, expected_precision
from ogacli.verdict.ranks import flag
from ogacli.verdict.reasons import PICTURES, REASONS

_BINS = 60


def summarise(
    verdict: Verdict,
    samples: Samples,
    parameters: Mapping[str, int],
    *,
    rescored: tuple[int, int] | None = None,
    overlap: Mapping[str, float] = MappingProxyType({}),
    checkpoints: Sequence[CheckpointDiagnosis] = (),
    named_by_model: bool = False,
    notes: Sequence[str] = (),
    benefit: Benefit | None = None,
) -> Summary:
    """Count flags, reasons and classes, and compare with the truth where it is known.

    Args:
        verdict: The decision on each sample.
        samples: The dataset.
        parameters: The parameters that the gradients were taken with respect to, and their sizes.
        rescored: After a pass in lower precision: how many samples were scored again in float32, and how
            many of them became flagged or are no longer.
        overlap: Split-half stability of each randomised detector.
        checkpoints: The diagnosis of each of several checkpoints.
        named_by_model: Whether the model names its outputs, in the order of the classes.
        notes: On data and gradients.
        benefit: What was tried out for ``budget: benefit``.
    """
    findings = verdict.findings
    quarantined = len(findings.quarantined)
    flagged = int(verdict.flagged.count_nonzero())
    evaluation = None
    if (wrong := samples.wrong) is not None:
        evaluation = {name: _evaluate(verdict, score, wrong) for name, score in findings.scores.items()}
    return Summary(
        samples=len(samples),
        scored=verdict.scored,
        flagged=flagged,
        quarantined=quarantined,
        budget=verdict.budget.plain,
        benefit=benefit,
        estimate=verdict.estimate,
        cut=verdict.cut,
        below_half=_below_half(verdict),
        expected=_expected(verdict),
        detectors=tuple(findings.scores),
        parameters=sum(parameters.values()),
        layers=tuple(parameters),
        reasons=_reasons(verdict),
        held_back=int(verdict.held_back.count_nonzero()),
        duplicates=int(findings.duplicates.count_nonzero()),
        near_duplicates=_near_duplicates(verdict, samples),
        leaks=None if findings.leaks is None else int((findings.leaks.rows >= 0).count_nonzero()),
        far=None if findings.far is None else int((~findings.far.isnan()).count_nonzero()),
        pictures=_pictures(verdict),
        consensus=_consensus(verdict),
        overlap=dict(overlap),
        cells=_cells(verdict, samples),
        entities=_entities(verdict, samples),
        annotators=annotator_summaries(verdict, samples),
        classes=_classes(verdict, samples),
        class_order="model" if named_by_model else samples.class_order,
        histogram=_histogram(verdict.score),
        diagnosis=diagnose(findings, samples.class_index, estimate=verdict.estimate, checkpoints=checkpoints),
        checkpoints=tuple(checkpoints),
        rescored=None if rescored is None else RescoredSummary(samples=rescored[0], changed=rescored[1]),
        evaluation=evaluation,
        cell_evaluation=_cell_evaluation(verdict, samples),
        columns=samples.columns,
        notes=tuple(notes),
    )


def _below_half(verdict: Verdict) -> float | None:
    wrong, flagged = verdict.findings.wrong, verdict.flagged
    if wrong is None or not flagged.any():
        return None
    below = sum(int((wrong[rows][flagged[rows]] < 0.5).sum()) for rows in blocks(len(flagged)))
    return below / int(flagged.count_nonzero())


def _expected(verdict: Verdict) -> tuple[ExpectedPrecision, ...]:
    wrong = verdict.findings.wrong
    return () if wrong is None else expected_precision(wrong, verdict.estimate, verdict.first(max(FIRST)))


def _evaluate(verdict: Verdict, score: Tensor, wrong: Tensor) -> Evaluation:
    """By the flags for the deciding detector; for another one by as many of its highest scores."""
    flagged = verdict.flagged if score is verdict.score else flag(score, int(verdict.flagged.count_nonzero()))
    return evaluate(score, wrong, flagged)


def _reasons(verdict: Verdict) -> dict[str, int]:
    flagged = verdict.flagged
    counts = np.zeros(len(REASONS), dtype=np.int64)
    for rows in blocks(len(flagged)):
        counts += np.bincount(verdict.reason(rows)[flagged[rows]].numpy(), minlength=len(REASONS))
    return dict(zip(REASONS, counts.tolist(), strict=True))


def _near_duplicates(verdict: Verdict, samples: Samples) -> NearDuplicates | None:
    kept = verdict.findings.near_duplicate_of
    if kept is None:
        return None
    rows = (kept >= 0).nonzero()[:, 0]
    stays = kept[rows]
    differs = (samples.labels[rows] != samples.labels[stays])[..., None].flatten(1).any(1)
    return NearDuplicates(groups=len(stays.unique()), samples=len(rows), conflicts=int(differs.sum()))


def _pictures(verdict: Verdict) -> dict[str, int]:
    picture = verdict.findings.picture
    if picture is None:
        return {}
    counts = picture.bincount(minlength=len(PICTURES)).tolist()
    return dict(list(zip(PICTURES, counts, strict=True))[1:])


def _consensus(verdict: Verdict) -> Consensus | None:
    several = len(verdict.findings.scores)
    if several == 1:
        return None
    votes = verdict.votes
    return Consensus(
        detectors=several, any=int((votes > 0).count_nonzero()), all=int((votes == several).count_nonzero())
    )


def _classes(verdict: Verdict, samples: Samples) -> tuple[ClassSummary, ...]:
    """How many samples have each class; one with several classes is counted in each of them."""

    def count(labels: Tensor) -> Tensor:
        return samples.label_type.counts(labels, samples.classes)

    def among(chosen: Tensor | None = None) -> list[int]:
        found = np.zeros(len(samples.classes), dtype=np.int64)
        for rows in blocks(len(samples)):
            labels = samples.labels[rows]
            found += count(labels if chosen is None else labels[chosen[rows]]).numpy()
        return list(found.tolist())

    counts, flagged, held_back = among(), among(verdict.flagged), among(verdict.held_back)
    quarantined = count(samples.labels[sorted(verdict.findings.quarantined)]).tolist()
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


def _cells(verdict: Verdict, samples: Samples) -> tuple[CellSummary, ...]:
    """The cells that are more probably wrong than right, by class or target."""
    if verdict.findings.cells is None:
        return ()
    table = issues_table(verdict, samples).filter(pc.field("probability") > DOUBTFUL)
    counts = by_class(counted(table))
    wrong = {name: counts.get(name, {}) for name in (*cell_names(samples), *counts)}
    named = pa.types.is_string(table.schema.field("given").type)
    if has_words(samples):
        given = samples.labels[samples.labels >= 0].long().bincount(minlength=len(samples.classes)).tolist()
    else:
        given = samples.label_type.counts(samples.labels, samples.classes).tolist()
    given += [len(samples)] * (len(wrong) - len(given))
    right = np.array(given) - [one.get(GIVEN, 0) for one in wrong.values()]
    often: list[str | None] = [None] * len(wrong)
    for reason in (GIVEN, FORGOTTEN):
        cases = np.array([one.get(reason, 0) for one in wrong.values()])
        most = cases == [max(one.values(), default=0) for one in wrong.values()]
        for i in (systematic(cases, right + cases) & most).nonzero()[0].tolist():
            often[i] = reason
    suggested = Counter(table["suggested"].to_pylist()) if named else Counter()
    return tuple(
        CellSummary(name=name, given=given[i], wrong=one, suggested=suggested[name], often=often[i])
        for i, (name, one) in enumerate(wrong.items())
    )


def _cell_evaluation(verdict: Verdict, samples: Samples) -> Evaluation | None:
    from ogacli.verdict.cell_truth import evaluate_cells

    cells = verdict.findings.cells
    return None if cells is None else evaluate_cells(cells, samples, verdict.findings.scored)


def _entities(verdict: Verdict, samples: Samples) -> tuple[EntitySummary, ...]:
    cells = verdict.findings.cells
    return () if cells is None or not has_words(samples) else entity_summaries(cells, samples)


def _histogram(score: Tensor) -> Histogram | None:
    def parts() -> Iterator[Tensor]:
        for rows in blocks(len(score)):
            known = score[rows][~score[rows].isnan()]
            if len(known):
                yield known

    ends = [(float(known.min()), float(known.max())) for known in parts()]
    if not ends:
        return None
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    end = high if high > low else low + max(1.0, abs(low))
    counts = np.zeros(_BINS)
    for known in parts():
        counts += known.histc(bins=_BINS, min=low, max=end).numpy()
    return Histogram(low=low, high=high, counts=tuple(int(count) for count in counts.tolist()))
