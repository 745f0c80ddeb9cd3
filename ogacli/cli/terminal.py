"""Output of the commands: results on stdout, progress and messages on stderr.

Progress bars are shown only on a terminal; rich honours ``NO_COLOR`` and ``TERM=dumb``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import progress
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ogacli.base.wording import visible, visible_json

_EVERY = 20.0
"""Seconds between two lines of a long step, where no bar can be shown."""

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


class _Output(_Console):
    """Stdout. A reader that closes it early, as ``| head`` does, does not change the exit code."""

    def on_broken_pipe(self) -> None:
        """Discard all further output."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminal:
    """Stdout and stderr of one command.

    Args:
        json: Print one JSON document and nothing else on stdout.
        quiet: No progress, no notes.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.out = _Output()
        self.err = _Console(stderr=True)

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
        if not self.quiet:
            self.err.print(escape(text), style="dim")

    def notes(self, columns: Columns | None) -> None:
        """Print how a table was read, where it is unusual."""
        for note in () if columns is None else columns.notes:
            self.note(f"note: {note}")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.err.print(f"[bold yellow]warning:[/] {escape(text)}")

    def error(self, text: str) -> None:
        """Print why the command failed."""
        self.err.print(f"[bold red]error:[/] {escape(text)}")

    @contextmanager
    def bar(self, description: str, total: int, *, long: bool = False) -> Iterator[Callable[[int], None]]:
        """A progress bar with rate and remaining time.

        Where stderr is not a terminal: a line now and then for a ``long`` step, else nothing.
        """
        if long and not self.err.is_terminal and not self.quiet:
            yield _Lines(self.err, description, total, ends=not self.json).advance
            return
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            _Rate(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
        )
        shown = self.err.is_terminal and not self.quiet
        bars = progress.Progress(*columns, console=self.err, disable=not shown, transient=True, expand=True)
        with bars:
            task = bars.add_task(description, total=total)
            yield lambda count: bars.advance(task, count)


class _Lines:
    """The progress of a step as lines: at its start, at its end, and every ``_EVERY`` seconds between.

    Without ``ends`` there are only those between, so that short commands print nothing but their document.
    """

    def __init__(self, console: Console, description: str, total: int, *, ends: bool) -> None:
        self._console = console
        self._description = description
        self._total = total
        self._done = 0
        self._ends = ends
        self._began = self._told = time.monotonic()
        if ends:
            console.print(f"{description}: 0 of {total:,}")

    def advance(self, count: int) -> None:
        """Note that so many more are done."""
        self._done += count
        now = time.monotonic()
        ended = self._ends and self._done >= self._total
        if not count or not (ended or now - self._told >= _EVERY):
            return
        self._told, passed = now, now - self._began
        left = passed / self._done * (self._total - self._done)
        ahead = f", {left:,.0f} s left" if left else ""
        self._console.print(f"{self._description}: {self._done:,} of {self._total:,}, {passed:,.0f} s{ahead}")


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> Table:
    """A plain table; the first column is left-aligned, the others are right-aligned."""
    grid = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
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
