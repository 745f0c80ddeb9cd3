"""The contents that the report formats share, in a size that does not grow with n or k.

In: a run. Out: the rows of its most anomalous flagged samples and of its quarantined ones, its classes, and
its data, model and detectors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base import wording
from ogacli.base.arrow import value
from ogacli.run.directory import Run
from ogacli.run.reports.sentences import LABEL_LENGTH, TEXT_LENGTH
from ogacli.run.scores import QUARANTINED
from ogacli.run.summary import Summary
from ogacli.verdict.evaluation import Evaluation
from ogacli.verdict.reasons import DUPLICATE

ID_LENGTH = 80
"""Characters that are shown of an id."""
_NAMING = {"near_duplicate": "near_duplicate_of", "leak": "leaks"}
"""Reasons that another sample is the cause of, and the columns with its id."""
_UNSET: tuple[Any, ...] = (None, False, 0, "", "auto", [], {})
"""Values of options that are not shown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of ``scores.parquet`` with its texts cut to length."""

    id: str
    position: int
    label: str
    suggested_label: str | None
    confidence: float | None
    score: float | None
    rank: int
    reason: str
    truth: str | None
    agreement: float | None
    """Share of the detectors that flag it; None where there is only one."""


def flagged_rows(run: Run, limit: int) -> pa.Table:
    """The flagged samples' rows, most anomalous first."""
    return run.rows(lambda rows: rows["flagged"], ["flagged"], limit, by="rank")


def quarantined_rows(run: Run, limit: int) -> pa.Table:
    """The quarantined samples' rows, in the order of the samples."""
    return run.rows(lambda rows: pc.equal(rows["status"], value(QUARANTINED)), ["status"], limit)


def samples(rows: pa.Table) -> tuple[Sample, ...]:
    """Rows of ``scores.parquet`` with their texts cut to length."""
    return tuple(_sample(row) for row in rows.to_pylist())


def _sample(row: Mapping[str, Any]) -> Sample:
    return Sample(
        id=wording.cut(str(row["id"]), ID_LENGTH),
        position=row["position"],
        label=_label(row["label"]) or "none",
        suggested_label=_label(row["suggested_label"]),
        confidence=row["confidence"],
        score=row["score"],
        rank=row["rank"],
        reason=_reason(row),
        truth=_label(row.get("truth")),
        agreement=row.get("agreement"),
    )


def _reason(row: Mapping[str, Any]) -> str:
    reason = wording.cut(row["reason"] or "", TEXT_LENGTH)
    twin = row.get("duplicate_of")
    if reason == DUPLICATE and twin is not None:
        return f"duplicate of {wording.cut(str(twin), ID_LENGTH)} with another label"
    for word, column in _NAMING.items():
        if reason == word and row.get(column) is not None:
            return f"{reason} of {wording.cut(str(row[column]), ID_LENGTH)}"
    return reason


def _label(value: object) -> str | None:
    return None if value is None else wording.cut(wording.label(value), LABEL_LENGTH)


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How many samples of a given label are flagged."""

    name: str
    flagged: int
    scored: int

    @property
    def share(self) -> float:
        """The flagged share of the scored samples."""
        return self.flagged / self.scored if self.scored else 0.0


def class_shares(summary: Summary, limit: int) -> tuple[ClassShare, ...]:
    """The classes, the largest flagged share first; classes without samples are left out."""
    shares = [
        ClassShare(wording.cut(one.name, LABEL_LENGTH), one.flagged, one.samples - one.quarantined)
        for one in summary.classes
        if one.samples
    ]
    return tuple(sorted(shares, key=lambda one: -one.share)[:limit])


CHECKPOINT_COLUMNS = ("checkpoint", "verdict", "given labels predicted", "used")


def checkpoint_rows(summary: Summary) -> list[tuple[str, str, str, str]]:
    """Each of several checkpoints, in the columns of ``CHECKPOINT_COLUMNS``."""
    return [
        (
            wording.cut(one.name, ID_LENGTH),
            one.diagnosis.verdict or "",
            "" if one.diagnosis.fit is None else wording.percent(one.diagnosis.fit),
            "yes" if one.counts else "no",
        )
        for one in summary.checkpoints
    ]


EVALUATED = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "precision_at_budget": "precision",
    "recall_at_budget": "recall",
    "f1_at_budget": "F1",
}
"""The figures of an ``Evaluation`` and their headings."""


CELLS = "cells"
"""The row of the parts of labels that are judged one by one."""


def evaluations(summary: Summary) -> dict[str, Evaluation]:
    """Those of the detectors, and that of the cells of labels."""
    cells = summary.cell_evaluation
    return {**(summary.evaluation or {}), **({} if cells is None else {CELLS: cells})}


def figures(one: Evaluation) -> list[str]:
    """The figures in the order of ``EVALUATED``."""
    values = [getattr(one, name) for name in EVALUATED]
    return ["" if value is None else f"{value:.3f}" for value in values]


def flat(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested plain values as dotted keys and short texts."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from flat(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list) and any(isinstance(value, Mapping | list) for value in values):
        for i, value in enumerate(values):
            yield from flat(value, f"{key}[{i}]")
    else:
        text = ", ".join(map(str, values)) if isinstance(values, list) else str(values)
        yield wording.cut(key, ID_LENGTH), wording.cut(text, TEXT_LENGTH)


def what(run: Run) -> dict[str, str]:
    """Data, model, gradients, detectors, budget, seeds and versions, in a line each."""
    summary, config, provenance = run.summary, run.config, run.provenance
    columns = summary.columns
    used = [f"{name} {version}" for name, version in provenance.get("versions", {}).items()]
    used += [value for value in provenance.values() if isinstance(value, str)]
    lines = {
        "Data": _section(config.get("data", {})),
        "Columns": "; ".join(columns.lines()) if columns else "",
        "Notes on the table": "; ".join(columns.notes) if columns else "",
        "Model": _section(config.get("model", {})),
        "Gradients with respect to": f"{wording.listed(summary.layers, 6)} "
        f"({summary.parameters:,} parameters)",
        "Detectors" if len(summary.detectors) > 1 else "Detector": wording.listed(summary.detectors, 12),
        "Budget": wording.budget(summary.budget),
        "Random seeds": _seeds(config.get("detector")),
        "Computed with": ", ".join(used),
    }
    return {name: wording.cut(text, TEXT_LENGTH) for name, text in lines.items() if text}


def _seeds(detectors: object) -> str:
    """The seed of each detector that draws random numbers: ``isolation_forest 0``."""
    named = [one for one in detectors if isinstance(one, Mapping)] if isinstance(detectors, list) else []
    return ", ".join(f"{one.get('name', 'detector')} {one['seed']}" for one in named if "seed" in one)


def _section(section: object) -> str:
    """``table: path labels.csv, label worse``: the source and the options that are set."""
    if not isinstance(section, Mapping):
        return str(section)
    given = {key: value for key, value in section.items() if key != "source" and value not in _UNSET}
    options = [f"{key} {value}" for key, value in flat(given)]
    source = str(section.get("source", "unknown"))
    return f"{source}: {wording.listed(options, 8)}" if options else source
