"""What the first commands of a new user print."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ogacli.base.wording import cut
from ogacli.cli.terminal import aligned
from ogacli.cli.views.scanning import columns_view, evaluation_table, plan_view, verification_view

if TYPE_CHECKING:
    from ogacli.config.demo import Demo
    from ogacli.config.doctor import Checkup
    from ogacli.config.starter import Starter

_COLUMNS = 200
"""Characters of a list of columns."""


def demo_view(demo: Demo) -> list[Any]:
    """Detection, accuracy after retraining, and the files written."""
    summary = demo.run.summary
    assert summary.evaluation is not None
    wrong = next(iter(summary.evaluation.values())).wrong
    files: list[tuple[str, str | Path]] = [
        ("config", demo.config),
        ("report", demo.run.path / "report.html"),
        ("manifest", str(demo.trimmed.manifest)),
    ]
    return [
        f"[bold]{summary.samples:,} digits, {wrong:,} labels flipped; "
        f"flagged {summary.flagged:,} by {summary.detectors[0]}[/]",
        "",
        evaluation_table(demo.run),
        "",
        *verification_view(demo.verification),
        "",
        *aligned(files),
    ]


def starter_view(starter: Starter, file: Path) -> list[Any]:
    """The columns that were filled in, and the keys that the user must fill in."""
    parts = [f"{escape(str(file))}: a starter config for {starter.kind}"]
    for key, names in starter.columns.items():
        parts.append(f"  {key}: {escape(names if isinstance(names, str) else ', '.join(names))}")
    parts += columns_view(starter.inputs.columns)
    if starter.inputs.refused:
        parts.append(f"[bold yellow]decide[/] before `oga train`: {escape(starter.inputs.refused)}")
    if starter.open:
        keys = " and ".join(f"data.{key}" for key in starter.open)
        columns = ", ".join(starter.known)
        why = f"the data has {columns}" if columns else "the data could not be read"
        parts.append(f"[bold yellow]fill in[/] {keys}: {escape(cut(why, _COLUMNS))}")
    if starter.placeholders:
        parts.append(
            f"[bold yellow]fill in[/] {escape(', '.join(starter.placeholders))}: files or code of yours"
        )
    command = shlex.join(["oga", "train" if starter.trains else "scan", str(file)])
    return [*parts, f"[bold]next[/] check the config, then run `{escape(command)}`"]


def doctor_view(checkup: Checkup) -> list[Any]:
    """Versions, devices and problems; then what a scan misses, or its plan."""
    lines: list[Any] = aligned([*checkup.versions.items(), *(("device", one) for one in checkup.devices)])
    lines += [f"[bold red]problem:[/] {escape(problem)}" for problem in checkup.problems]
    lines += [f"[bold red]missing:[/] {escape(message)}" for message in checkup.missing]
    return lines if checkup.plan is None else [*lines, "", *plan_view(checkup.plan)]
