"""What the commands that read a run show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ogacli.base.wording import percent
from ogacli.cli.terminal import figure, shown, table

if TYPE_CHECKING:
    from ogacli.run.compare import Comparison
    from ogacli.run.gate.outcome import Gate
    from ogacli.run.trim import Trimmed


def trim_view(trimmed: Trimmed) -> list[Any]:
    """The fates, and where the split was written."""
    fates = ", ".join(f"{count:,} {fate}" for fate, count in trimmed.fates.items() if count)
    return [f"[bold]{fates}[/]", f"[bold]{trimmed.format}[/]  {escape(str(shown(trimmed.path)))}"]


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
