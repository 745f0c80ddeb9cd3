"""Output of the commands: results on stdout, progress and messages on stderr.

Progress bars are shown only on a terminal; rich honours ``NO_COLOR`` and ``TERM=dumb``.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import progress
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ogacli.base.progress import Advance, Step
from ogacli.base.wording import visible, visible_json
from ogacli.cli.lines import Lines
from ogacli.cli.log import JsonLog

_WIDTH = 80
"""Columns of a paragraph."""

if TYPE_CHECKING:  # which would import pyarrow
    from ogacli.base.tables.columns import Columns


class _Console(Console):
    """A console that escapes control and invisible characters, which names and texts may contain."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The segments with such characters in their text escaped."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def discard_output() -> None:
    """Write nothing more to stdout, not even what waits to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(_Console):
    """Stdout. A reader that closes it early, as ``| head`` does, does not change the exit code."""

    def on_broken_pipe(self) -> None:
        """Discard all further output."""
        self.quiet = True
        discard_output()


class Terminal:
    """Stdout and stderr of one command.

    Args:
        json: Print one JSON document and nothing else on stdout.
        quiet: No progress, no notes.
        log_json: Progress and messages as lines of JSON on stderr.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, log_json: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.out = _Output()
        self.err = _Console(stderr=True)
        self._log = JsonLog() if log_json else None
        self._lines = Lines(lambda line: self.err.print(line))
        _of_command[:] = [self]

    @staticmethod
    def of_command() -> Terminal:
        """The one that the command has made; a new one where it has failed before."""
        return _of_command[0] if _of_command else Terminal()

    def result(self, document: Any, *parts: Any) -> None:
        """Print the result: as one JSON document, or as rich renderables."""
        if self.json:
            try:
                print(visible_json(json.dumps(document, indent=2, ensure_ascii=False)), flush=True)
            except BrokenPipeError:
                self.out.on_broken_pipe()
            return
        for part in parts:
            self.out.print(part, soft_wrap=isinstance(part, str))

    def note(self, text: str) -> None:
        """Print additional information; nothing when quiet."""
        if self.quiet:
            return
        if self._log is not None:
            self._log.write("note", text=text)
        else:
            self.err.print(escape(text), style="dim")

    def notes(self, columns: Columns | None) -> None:
        """Print how a table was read, where it is unusual."""
        for note in () if columns is None else columns.notes:
            self.note(f"note: {note}")

    def warn(self, text: str) -> None:
        """Print a warning."""
        if self._log is not None:
            self._log.write("warning", text=text)
        else:
            self.err.print(f"[bold yellow]warning:[/] {escape(text)}")

    def error(self, text: str) -> None:
        """Print why the command failed."""
        if self._log is not None:
            self._log.write("error", text=text)
        else:
            self.err.print(f"[bold red]error:[/] {escape(text)}")

    @contextmanager
    def bar(self, description: str, total: int, *, work: float | None = None) -> Iterator[Advance]:
        """A progress bar with rate and remaining time; a line now and then where stderr is no terminal."""
        if self._log is not None:
            with self._log.bar(description, total, work=work) as advance:
                yield advance
            return
        step = Step(description, total, work)
        if not self.err.is_terminal and not self.quiet:
            with self._lines.of(step):
                yield step.advance
            return
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            _Rate(),
            progress.TimeElapsedColumn(),
            _Left(),
        )
        bars = progress.Progress(*columns, console=self.err, disable=self.quiet, transient=True, expand=True)
        with bars:
            task = bars.add_task(description, total=total, step=step)

            def advance_bar(count: int, work: float | None = None, /) -> None:
                step.advance(count, work)
                bars.advance(task, count)

            yield advance_bar


_of_command: list[Terminal] = []
"""The last one that was made."""


class _Left(progress.ProgressColumn):
    max_refresh = 0.5

    def render(self, task: progress.Task) -> Text:
        left = 0.0 if task.finished else task.fields["step"].pace.left
        shown = "-:--:--" if left is None else str(timedelta(seconds=round(left)))
        return Text(shown, style="progress.remaining")


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table; the first column is left-aligned, the others are right-aligned."""
    grid = Table(box=None, pad_edge=False)
    for i, name in enumerate(header):
        grid.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(escape(cell) for cell in row))
    return grid


def figure(value: float | None) -> str:
    """A number from 0 to 1 with three decimals; ``-`` for None."""
    return "-" if value is None else f"{value:.3f}"


def shown(path: Path) -> str:
    """The path as the user would type it: relative where it lies below the current folder."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path)


def aligned(rows: Iterable[tuple[str, str | Path]]) -> list[str]:
    """Lines of a bold name and a text or path, the latter in one column."""
    pairs = [(name, shown(value) if isinstance(value, Path) else value) for name, value in rows]
    width = max(len(name) for name, _ in pairs)
    return [f"[bold]{name}[/]{' ' * (width - len(name))}  {escape(text)}" for name, text in pairs]


def wrapped(text: str) -> list[str]:
    """The lines of a paragraph, indented, as markup."""
    return [f"  {escape(line)}" for line in textwrap.wrap(text, _WIDTH - 2)]
