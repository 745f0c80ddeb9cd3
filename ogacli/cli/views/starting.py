"""What the commands to begin with show."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ogacli.base.wording import cut
from ogacli.cli.terminal import shown
from ogacli.cli.views.scanning import evaluation_table, plan_view, verification_view

if TYPE_CHECKING:
    from ogacli.config.demo import Demo
    from ogacli.config.doctor import Checkup
    from ogacli.config.starter import Starter

_COLUMNS = 200
"""Characters of a list of columns."""


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
        f"[bold]config[/]    {escape(str(shown(demo.config)))}",
        f"[bold]report[/]    {escape(str(shown(demo.run.path / 'report.html')))}",
        f"[bold]manifest[/]  {escape(str(shown(demo.trimmed.path)))}",
    ]


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


def doctor_view(checkup: Checkup) -> list[Any]:
    """Versions, devices and problems; then the plan of a scan, if there is one."""
    rows = [*checkup.versions.items(), *(("device", device) for device in checkup.devices)]
    width = max(len(name) for name, _ in rows)
    lines: list[Any] = [f"[bold]{name.ljust(width)}[/]  {escape(text)}" for name, text in rows]
    lines += [f"[bold red]problem:[/] {escape(problem)}" for problem in checkup.problems]
    return lines if checkup.plan is None else [*lines, "", *plan_view(checkup.plan)]
