"""What the commands that read a run print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ogacli.base.wording import cut, listed, percent
from ogacli.cli.terminal import aligned, figure, table, wrapped

if TYPE_CHECKING:
    from ogacli.run.compare import Comparison
    from ogacli.run.diff import Difference
    from ogacli.run.gate.outcome import Gate
    from ogacli.run.trim import Trimmed
    from ogacli.verdict.evaluation import Evaluation

_CLASSES, _IDS = 20, 10
"""Classes, and ids of one kind, that `oga diff` shows on a terminal."""


def trim_view(trimmed: Trimmed) -> list[Any]:
    """How many samples were kept, dropped, relabelled, and where the dataset was written."""
    fates = ", ".join(f"{count:,} {fate}" for fate, count in trimmed.fates.items() if count)
    notes = [f"  {escape(note)}" for note in trimmed.notes]
    places: list[tuple[str, str | Path]] = []
    if trimmed.format is not None and trimmed.path is not None:
        places.append((trimmed.format, trimmed.path))
    if trimmed.manifest is not None:
        places.append(("manifest", trimmed.manifest))
    return [f"[bold]{fates}[/]", *notes, *aligned(places)]


def evaluation_cells(evaluation: Evaluation | None) -> list[str]:
    """AUROC, average precision, precision and F1 at the budget."""
    if evaluation is None:
        return [figure(None)] * 4
    e = evaluation
    return [figure(value) for value in (e.auroc, e.average_precision, e.precision_at_budget, e.f1_at_budget)]


def comparison_view(comparison: Comparison) -> list[Any]:
    """One row for each score column, compared with the first."""
    columns = comparison.columns
    evaluated = any(column.evaluation is not None for column in columns)
    several = len({column.run for column in columns}) > 1
    names = [f"{column.run}: {column.detector}" if several else column.detector for column in columns]
    rows = []
    for name, column in zip(names, columns, strict=True):
        overlap = figure(None) if column.overlap is None else percent(column.overlap)
        seconds = figure(None) if column.seconds is None else f"{column.seconds:,.2f}"
        cells = [name, figure(column.correlation), overlap, seconds]
        rows.append(cells + evaluation_cells(column.evaluation) * evaluated)
    return [
        f"[bold]{comparison.samples:,} samples, {comparison.flagged:,} flagged by each[/]; "
        f"rank correlation and overlap are with {escape(names[0])}",
        "",
        table(["", "corr", "overlap", "time s"] + ["AUROC", "AP", "prec", "F1"] * evaluated, rows),
    ]


def difference_view(found: Difference) -> list[Any]:
    """How many samples there are of each kind by class, and the first ids of each kind."""
    from ogacli.run.diff import KINDS, told

    shown = [kind for kind in KINDS if found.counts[kind]]
    head = f"[bold]{escape(found.headline)}[/]"
    if not shown:
        return [head, "no sample is new, changed or gone, and the same ones are flagged"]
    rows = [
        [cut(name, 40), *(f"{counts[kind]:,}" for kind in shown)]
        for name, counts in list(found.classes.items())[:_CLASSES]
    ]
    lists = [(told(kind), listed([cut(one.id, 40) for one in found.of(kind)], _IDS)) for kind in shown]
    notes = ["[dim]inputs were not read, so that only labels are compared[/]"] * found.by_label
    return [head, *notes, "", table(["label", *map(told, shown)], rows), "", *aligned(lists)]


def gate_view(gate: Gate) -> list[Any]:
    """Each condition with the value found and the limit; then details and warnings."""
    colours = {"passed": "green", "warned": "yellow", "failed": "bold red", "skipped": "dim"}
    grid = table(["condition", "found", "allowed", ""], [])
    for outcome in gate.conditions:
        status = f"[{colours[outcome.status]}]{outcome.status}[/]"
        grid.add_row(escape(outcome.name), escape(outcome.found), escape(outcome.allowed), status)
    details = [line for one in gate.conditions if one.detail for line in wrapped(f"{one.name}: {one.detail}")]
    warnings = [line for warning in gate.warnings for line in wrapped(f"warning: {warning}")]
    failed = sum(outcome.status == "failed" for outcome in gate.conditions)
    conclusion = "[bold green]gate passed[/]" if gate.passed else f"[bold red]gate failed[/]: {failed} failed"
    return [grid, *details, *warnings, "", conclusion]
