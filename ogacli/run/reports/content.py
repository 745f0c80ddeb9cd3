"""The contents that the report formats share, in a size that does not grow with n or k.

In: a run. Out: the rows of its most anomalous flagged samples and of its quarantined ones, its classes, and
sentences on the results.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.scores import QUARANTINED
from ogacli.run.summary import Summary
from ogacli.verdict.evaluation import Evaluation
from ogacli.verdict.reasons import DUPLICATE

ID_LENGTH, LABEL_LENGTH, TEXT_LENGTH = 80, 48, 320
"""Characters that are shown of an id, of a label, of any longer text."""
_TOLD = (100, 500)
"""The ranks whose expected precision is told in a sentence; the summary has more."""
_STABLE = 0.8
"""From this split-half stability on, more trees change little."""
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
    return run.rows(pc.field("flagged"), ["flagged"], limit, by="rank")


def quarantined_rows(run: Run, limit: int) -> pa.Table:
    """The quarantined samples' rows, in the order of the samples."""
    return run.rows(pc.field("status") == QUARANTINED, ["status"], limit)


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


def _estimate(summary: Summary) -> list[str]:
    """The estimated share of wrong labels, or why there is none."""
    found = summary.estimate
    if found is None:
        return []
    interval = f"{wording.percent(found.low)} to {wording.percent(found.high)}"
    if found.share is None:
        reason = "" if summary.diagnosis.verdict == "uncertain" else f": {found.reason}"
        return [f"How many labels are wrong cannot be told ({interval}){reason}"]
    if found.count(summary.scored) == 0:
        return [f"No wrong labels found, nothing to trim (at most {wording.percent(found.high)} are wrong)"]
    return [f"About {wording.percent(found.share)} of the labels seem to be wrong ({interval})"]


def _expected(summary: Summary) -> list[str]:
    """How many of the first samples are probably wrong."""
    told = [one for one in summary.expected if one.wrong is not None and one.first in _TOLD]
    parts = [
        f"{wording.number(round(one.wrong or 0))} of the first {wording.number(one.first)} "
        f"({wording.number(round(one.low))} to {wording.number(round(one.high))})"
        for one in told
    ]
    return [f"Labels expected to be wrong: {wording.listed(parts, 3)}"] if parts else []


def _below_half(summary: Summary) -> list[str]:
    """The flagged samples whose labels are more probably right than wrong."""
    if not summary.below_half or summary.cut is None:
        return []
    line = (
        f"{wording.percent(summary.below_half)} of the flagged labels are more probably right than wrong "
        f"(lowest flagged score {summary.cut:.2f})"
    )
    return [f"Warning: {line}; a smaller budget flags fewer of them" if summary.below_half > 0.5 else line]


def _class_order(summary: Summary) -> list[str]:
    """Where the order of the classes is a guess: that it is, and how to mend it."""
    if summary.class_order != "sorted":
        return []
    names = wording.cut(wording.listed([one.name for one in summary.classes], 6), TEXT_LENGTH)
    return [
        f"The model does not name its outputs; they were taken as the sorted class names ({names}). "
        "If it was trained on another order, list the names in that order as `classes` in the data section"
    ]


def asides(summary: Summary) -> list[str]:
    """Further facts about the samples: sentences without full stop."""
    lines = [
        line
        for told in (_estimate, _expected, _below_half, several_checkpoints, _class_order)
        for line in told(summary)
    ]
    if summary.held_back:
        noun = "sample is" if summary.held_back == 1 else "samples are"
        classes = [f"{one.name!r} {one.held_back:,}" for one in summary.classes if one.held_back]
        lines.append(
            f"{wording.number(summary.held_back)} more {noun} within the budget but not flagged, to protect "
            f"their classes ({wording.cut(wording.listed(classes, 5), TEXT_LENGTH)}); "
            "`protect: off` flags them too"
        )
    if summary.duplicates:
        noun = "sample has" if summary.duplicates == 1 else "samples have"
        lines.append(
            f"{wording.number(summary.duplicates)} {noun} the same inputs as a sample with another label"
        )
    if summary.flagged and (found := summary.consensus) is not None:
        lines.append(
            f"{'Both' if found.detectors == 2 else f'All {found.detectors}'} detectors flag "
            f"{wording.number(found.all)} samples, "
            f"at least one of them flags {wording.number(found.any)}"
        )
    if (overlap := summary.overlap.get(name := summary.detectors[0])) is not None:
        lines.append(
            f"Split-half stability of {name}: two halves of its trees share {wording.percent(overlap)} of "
            "the samples that they flag" + ("; `trees: auto` grows more trees" if overlap < _STABLE else "")
        )
    return lines


def several_checkpoints(summary: Summary) -> list[str]:
    """How many of several checkpoints count, where not all do: sentences without full stop."""
    left_out = [one for one in summary.checkpoints if not one.counts]
    if not left_out:
        return []
    counted, all_of_them = len(summary.checkpoints) - len(left_out), len(summary.checkpoints)
    verdicts = [f"{one.name} ({one.diagnosis.verdict})" for one in left_out]
    return [
        f"Scores and predictions are those of {counted} of {all_of_them} checkpoints; left out: "
        f"{wording.cut(wording.listed(verdicts, 6), TEXT_LENGTH)}"
    ]


CHECKPOINT_COLUMNS = ("checkpoint", "verdict", "predicts", "counts")


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


def notes(summary: Summary) -> list[str]:
    """Notes on data and gradients, cut to length, each beginning with a capital letter."""
    return [wording.cut(note[:1].upper() + note[1:], TEXT_LENGTH) for note in summary.notes]


EVALUATED = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "precision_at_budget": "precision",
    "recall_at_budget": "recall",
    "f1_at_budget": "F1",
}
"""The figures of an ``Evaluation`` and their headings."""


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
        "Gradients of": f"{wording.listed(summary.layers, 6)} ({summary.parameters:,} parameters)",
        "Detectors" if len(summary.detectors) > 1 else "Detector": wording.listed(summary.detectors, 12),
        "Budget": wording.budget(summary.budget),
        "Seeds": ", ".join(value for _, value in flat(provenance.get("seeds", []))),
        "Computed with": ", ".join(used),
    }
    return {name: wording.cut(text, TEXT_LENGTH) for name, text in lines.items() if text}


def _section(section: Mapping[str, Any]) -> str:
    """``table: path labels.csv, label worse``: the source and the options that are set."""
    given = {key: value for key, value in section.items() if key != "source" and value not in _UNSET}
    options = [f"{key} {value}" for key, value in flat(given)]
    source = str(section.get("source", "unknown"))
    return f"{source}: {wording.listed(options, 8)}" if options else source
