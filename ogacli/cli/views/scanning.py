"""What the commands that take a config show."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ogacli.base.wording import part, percent
from ogacli.cli.terminal import figure, shown, table
from ogacli.errors import CheckpointError
from ogacli.run.reports.content import asides

if TYPE_CHECKING:
    from ogacli.models.sources import ModelSource
    from ogacli.models.training.folds import CrossValidation
    from ogacli.models.training.train import Training
    from ogacli.run.directory import Run
    from ogacli.scan.attribution.result import Attribution
    from ogacli.scan.plan import Plan
    from ogacli.scan.verify import Verification
    from ogacli.verdict.diagnosis import Diagnosis

_CLASSES = 12
"""Classes in the table of a scan."""
_WIDTH = 80


def training_view(training: Training, config: Path, source: ModelSource) -> list[Any]:
    """How the epochs went, and what to do next.

    Args:
        training: What was trained.
        config: The config file.
        source: The config's model.
    """
    rows = [
        [str(e.number), f"{e.loss:.4f}", "" if e.accuracy is None else percent(e.accuracy)]
        for e in training.epochs
    ]
    command = ["oga", "scan", str(config)]
    try:
        loaded = source.checkpoint_files()
    except CheckpointError:  # a pattern that matches nothing is of another training
        loaded = ()
    if not set(loaded) & {str(path) for path in training.checkpoints}:
        several = len(training.checkpoints) > 1
        named = training.folder / "epoch-*.safetensors" if several else training.checkpoints[-1]
        command += ["--set", f"model.checkpoint={shown(named)}"]
    return [
        _filled(["epoch", "loss", "accuracy"], rows),
        "",
        f"[bold]trained on {training.samples:,} samples[/]"
        + (f", {len(training.skipped):,} could not be read" if training.skipped else ""),
        f"[bold]checkpoints[/]  {escape(str(shown(training.folder)))}",
        f"[bold]next[/]         {escape(shlex.join(command))}",
    ]


def folds_view(training: CrossValidation, config: Path) -> list[Any]:
    """How the network of each fold went, and what to do next."""
    rows = [
        [
            str(fold.number),
            f"{fold.samples:,}",
            f"{fold.epochs[-1].loss:.4f}",
            *(percent(one) if one is not None else "" for one in (fold.epochs[-1].accuracy, fold.accuracy)),
        ]
        for fold in training.folds
    ]
    command = ["oga", "scan", str(config), "--folds", str(len(training.folds))]
    header = ["fold", "trained on", "loss", "accuracy", "held-out accuracy"]
    return [
        _filled(header, rows),
        "",
        *([f"{len(training.skipped):,} samples could not be read"] if training.skipped else []),
        f"[bold]checkpoints[/]  {escape(str(shown(training.folder)))}",
        f"[bold]next[/]         {escape(shlex.join(command))}",
    ]


def _filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without the columns that have nothing in them."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])


def plan_view(plan: Plan) -> list[Any]:
    """What a scan would do."""
    return [
        f"[bold]would scan {plan.samples:,} samples[/] of {plan.classes} classes on {plan.device}, "
        f"{plan.batch_size:,} at a time",
        f"  {', '.join(plan.detectors)} on {sum(plan.parameters.values()):,} gradient coordinates:",
        *(f"    {escape(name)} ({size:,})" for name, size in plan.parameters.items()),
        f"  about {plan.seconds:,.0f} s, into {escape(str(shown(plan.output)))}",
    ]


def scan_view(run: Run, *, verbose: bool = False) -> list[Any]:
    """What a scan found, and what to do next."""
    summary = run.summary
    head = f"[bold]flagged {part(summary.flagged, summary.scored)} samples[/]"
    if summary.quarantined:
        head += f", {summary.quarantined:,} quarantined"
    parts: list[Any] = [
        head,
        f"  {', '.join(summary.detectors)} on {summary.parameters:,} gradient coordinates",
    ]
    if verbose:
        parts += [f"    {name} ({size:,})" for name, size in run.provenance["parameters"].items()]
    reasons = ", ".join(f"{count:,} {name}" for name, count in summary.reasons.items() if count)
    if reasons:
        parts.append(f"  {reasons}")
    parts += [line for aside in asides(summary) for line in _wrapped(aside)]
    parts += diagnosis_view(summary.diagnosis)
    if summary.rescored is not None:
        again = summary.rescored
        parts.append(
            f"  {again.samples:,} flagged or near the cut scored once more in float32: "
            f"{again.changed:,} changed sides"
        )
    parts += [f"  note: {escape(note)}" for note in run.provenance.get("notes", ())]
    if summary.classes:
        parts += ["", _class_table(run)]
    if summary.evaluation:
        parts += ["", evaluation_table(run)]
    path = shlex.quote(str(shown(run.path)))
    parts += [
        "",
        f"[bold]report[/]  {escape(str(shown(run.path / 'report.html')))}",
        f"[bold]scores[/]  {escape(str(shown(run.path / 'scores.parquet')))}",
        f"[bold]next[/]    oga trim {escape(path)} --to clean.csv",
    ]
    return parts


def diagnosis_view(found: Diagnosis) -> list[Any]:
    """Whether the checkpoint can be used to find wrong labels, why, and what to do where it cannot."""
    if found.verdict is None:
        return []
    colour = {"fresh": "yellow", "useful": "green", "memorised": "bold red"}[found.verdict]
    told = found.reason if found.verdict == "useful" else f"{found.reason}; {found.advice}"
    lines = _wrapped(f"checkpoint {found.verdict}: {told}")
    return [lines[0].replace(found.verdict, f"[{colour}]{found.verdict}[/]", 1), *lines[1:]]


def _wrapped(text: str) -> list[str]:
    """A paragraph of a terminal's width, indented."""
    return [f"  {escape(line)}" for line in textwrap.wrap(text, _WIDTH - 2)]


def _class_table(run: Run) -> Any:
    """The classes, most flagged first."""
    ordered = sorted(run.summary.classes, key=lambda one: -one.flagged / max(one.samples, 1))
    rows = [
        [one.name, f"{one.samples:,}", f"{one.flagged:,}", percent(one.flagged / max(one.samples, 1))]
        for one in ordered[:_CLASSES]
    ]
    if len(ordered) > _CLASSES:
        rows.append([f"and {len(ordered) - _CLASSES} more", "", "", ""])
    return table(["label", "samples", "flagged", "share"], rows)


def evaluation_table(run: Run) -> Any:
    """Detection figures of each detector, where the truth is known."""
    assert run.summary.evaluation is not None
    rows = [
        [
            name,
            figure(e.auroc),
            figure(e.average_precision),
            figure(e.precision_at_budget),
            figure(e.f1_at_budget),
        ]
        for name, e in run.summary.evaluation.items()
    ]
    return table(["against the truth", "AUROC", "AP", "precision", "F1"], rows)


def verification_view(found: Verification) -> list[Any]:
    """Test accuracy of each arm, and whether trimming helped."""
    seeds = len(found.arms[0].accuracies)
    rows = []
    gaps = {one.against: one for one in found.differences}
    for arm in found.arms:
        gap = gaps.get(arm.name)
        interval = f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]" if gap else ""
        spread = f"{percent(arm.mean)} ± {100 * float(np.std(arm.accuracies, ddof=1)):.1f}"
        rows.append([arm.name, f"{arm.samples:,}", spread, interval])
    title = f"Retrained, {seeds} seeds, accuracy on {found.test:,} test samples"
    header = ["trained on", "samples", "accuracy", "trimmed minus this [95 %]"]
    return [table(header, rows, title=title), "", f"[bold]trimming: {found.verdict}[/]"]


def attribution_view(found: Attribution) -> list[Any]:
    """How much was compared, how good the result is where that is known, and where it was written."""
    what = f"{len(found.groups):,} groups of " if found.groups else ""
    head = f"[bold]{found.queries:,} queries compared with {what}{found.training:,} training samples[/]"
    if found.quarantined:
        head += f", {found.quarantined:,} quarantined"
    rows = [[name, figure(one["auc"]), figure(one["recall"])] for name, one in found.evaluation.items()]
    return [
        head,
        f"  on {found.parameters:,} gradient coordinates",
        *(f"  note: {escape(note)}" for note in found.notes),
        "",
        table(["samples of the query's class", "AUC", "recall"], rows),
        "",
        f"[bold]report[/]        {escape(str(shown(found.folder / 'report.html')))}",
        f"[bold]attributions[/]  {escape(str(shown(found.folder / 'attributions.parquet')))}",
    ]
