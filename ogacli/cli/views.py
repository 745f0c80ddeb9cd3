"""Results as a person reads them on a terminal of 80 columns."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ogacli.base.wording import cut, part, percent
from ogacli.cli.terminal import figure, table
from ogacli.errors import CheckpointError
from ogacli.run.reports.content import asides

if TYPE_CHECKING:
    from ogacli.cli.demo import Demo
    from ogacli.cli.doctor import Checkup
    from ogacli.config.starter import Starter
    from ogacli.models.sources import ModelSource
    from ogacli.models.training.folds import CrossValidation
    from ogacli.models.training.train import Training
    from ogacli.run.compare import Comparison
    from ogacli.run.directory import Run
    from ogacli.run.gate import Gate
    from ogacli.run.trim import Trimmed
    from ogacli.scan import Plan
    from ogacli.scan.attribution.result import Attribution
    from ogacli.scan.verify import Verification
    from ogacli.verdict.diagnosis import Diagnosis

_CLASSES, _WIDTH = 12, 80
_COLUMNS = 200
"""Characters of a list of columns."""


def starter_view(found: Starter, file: Path) -> list[Any]:
    """Which of the data's columns were filled in, and what is left to do."""
    parts = [f"{escape(str(file))}: a starter config for {found.kind}"]
    for key, names in found.columns.items():
        parts.append(f"  {key}: {escape(names if isinstance(names, str) else ', '.join(names))}")
    if found.open:
        keys = " and ".join(f"data.{key}" for key in found.open)
        why = f"the data has {', '.join(found.known)}" if found.known else "the data could not be looked into"
        parts.append(f"[bold yellow]fill in[/] {keys}: {escape(cut(why, _COLUMNS))}")
    command = shlex.join(["oga", "train" if found.trains else "scan", str(file)])
    return [*parts, f"[bold]next[/] read it through, then `{escape(command)}`"]


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
    path = shlex.quote(str(_shown(run.path)))
    parts += [
        "",
        f"[bold]report[/]  {escape(str(_shown(run.path / 'report.html')))}",
        f"[bold]scores[/]  {escape(str(_shown(run.path / 'scores.parquet')))}",
        f"[bold]next[/]    oga trim {escape(path)} --to clean.csv",
    ]
    return parts


def diagnosis_view(found: Diagnosis) -> list[Any]:
    """Whether the checkpoint is one to go by, why, and what to do where it is not."""
    if found.verdict is None:
        return []
    colour = {"fresh": "yellow", "useful": "green", "memorised": "bold red"}[found.verdict]
    told = found.reason if found.verdict == "useful" else f"{found.reason}; {found.advice}"
    lines = _wrapped(f"checkpoint {found.verdict}: {told}")
    return [lines[0].replace(found.verdict, f"[{colour}]{found.verdict}[/]", 1), *lines[1:]]


def _wrapped(text: str) -> list[str]:
    """A paragraph of a terminal's width, set in."""
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


def plan_view(plan: Plan) -> list[Any]:
    """What a scan would do."""
    return [
        f"[bold]would scan {plan.samples:,} samples[/] of {plan.classes} classes on {plan.device}, "
        f"{plan.batch_size:,} at a time",
        f"  {', '.join(plan.detectors)} on {sum(plan.parameters.values()):,} gradient coordinates:",
        *(f"    {escape(name)} ({size:,})" for name, size in plan.parameters.items()),
        f"  about {plan.seconds:,.0f} s, into {escape(str(_shown(plan.output)))}",
    ]


def doctor_view(checkup: Checkup) -> list[Any]:
    """Versions, devices and problems."""
    rows = [*checkup.versions.items(), *(("device", device) for device in checkup.devices)]
    width = max(len(name) for name, _ in rows)
    lines: list[Any] = [f"[bold]{name.ljust(width)}[/]  {escape(text)}" for name, text in rows]
    return lines + [f"[bold red]problem:[/] {escape(problem)}" for problem in checkup.problems]


def trim_view(trimmed: Trimmed) -> list[Any]:
    """The fates, and where the split was written."""
    fates = ", ".join(f"{count:,} {fate}" for fate, count in trimmed.fates.items() if count)
    return [f"[bold]{fates}[/]", f"[bold]{trimmed.format}[/]  {escape(str(_shown(trimmed.path)))}"]


def _shown(path: Path) -> Path:
    """The path as the user would type it: relative where it lies below the current folder."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path


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
        command += ["--set", f"model.checkpoint={_shown(named)}"]
    return [
        _filled(["epoch", "loss", "fit to the given labels"], rows),
        "",
        f"[bold]trained on {training.samples:,} samples[/]"
        + (f", {len(training.skipped):,} could not be read" if training.skipped else ""),
        f"[bold]checkpoints[/]  {escape(str(_shown(training.folder)))}",
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
    header = ["fold", "trained on", "loss", "fit to the given labels", "held out ones"]
    return [
        _filled(header, rows),
        "",
        *([f"{len(training.skipped):,} samples could not be read"] if training.skipped else []),
        f"[bold]checkpoints[/]  {escape(str(_shown(training.folder)))}",
        f"[bold]next[/]         {escape(shlex.join(command))}",
    ]


def _filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without the columns that have nothing in them."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])


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
    """How much was compared, how good it is where that is known, and where it was written."""
    what = f"{len(found.groups):,} groups of " if found.groups else ""
    head = f"[bold]{found.queries:,} queries held against {what}{found.training:,} training samples[/]"
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
        f"[bold]report[/]        {escape(str(_shown(found.folder / 'report.html')))}",
        f"[bold]attributions[/]  {escape(str(_shown(found.folder / 'attributions.parquet')))}",
    ]


def comparison_view(found: Comparison) -> list[Any]:
    """Each score column in a row, compared with the first."""
    first = found.columns[0]
    truth = any(column.evaluation is not None for column in found.columns)
    several = len({column.run for column in found.columns}) > 1
    rows = []
    for column in found.columns:
        name = f"{column.run}: {column.detector}" if several else column.detector
        cells = [
            name,
            figure(column.correlation),
            figure(None) if column.overlap is None else percent(column.overlap),
        ]
        cells.append(figure(None) if column.seconds is None else f"{column.seconds:,.2f}")
        if truth:
            e = column.evaluation
            values = (
                (None,) * 4
                if e is None
                else (e.auroc, e.average_precision, e.precision_at_budget, e.f1_at_budget)
            )
            cells += [figure(value) for value in values]
        rows.append(cells)
    header = ["", "corr", "overlap", "time s"]
    against = f"{first.run}: {first.detector}" if several else first.detector
    return [
        f"[bold]{found.samples:,} samples, {found.flagged:,} flagged by each[/]; "
        f"rank correlation and overlap are with {escape(against)}",
        "",
        table(header + ["AUROC", "AP", "prec", "F1"] * truth, rows),
    ]


def gate_view(found: Gate) -> list[Any]:
    """Each condition, what was found and what was allowed; then what else there is to say."""
    colours = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
    grid = table(["condition", "found", "allowed", ""], [])
    for one in found.conditions:
        status = f"[{colours[one.status]}]{one.status}[/]"
        grid.add_row(escape(one.name), escape(one.found), escape(one.allowed), status)
    details = [f"  {escape(one.name)}: {escape(one.detail)}" for one in found.conditions if one.detail]
    warnings = [f"[yellow]warning:[/] {escape(warning)}" for warning in found.warnings]
    failed = sum(one.status == "failed" for one in found.conditions)
    verdict = "[bold green]gate passed[/]" if found.passed else f"[bold red]gate failed[/]: {failed} tripped"
    return [grid, *details, *warnings, "", verdict]


def demo_view(demo: Demo) -> list[Any]:
    """The whole demo on one screen."""
    summary = demo.run.summary
    assert summary.evaluation is not None
    wrong = next(iter(summary.evaluation.values())).wrong
    return [
        f"[bold]{summary.samples:,} digits, {wrong:,} labels flipped; "
        f"flagged {summary.flagged:,} by {summary.detectors[0]}[/]",
        "",
        evaluation_table(demo.run),
        "",
        *verification_view(demo.verification),
        "",
        f"[bold]config[/]    {escape(str(_shown(demo.config)))}",
        f"[bold]report[/]    {escape(str(_shown(demo.run.path / 'report.html')))}",
        f"[bold]manifest[/]  {escape(str(_shown(demo.trimmed.path)))}",
    ]
