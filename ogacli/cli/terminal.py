"""What a person sees: results on stdout, progress and messages on stderr.

Progress bars only on a terminal; ``NO_COLOR`` and ``TERM=dumb`` are honoured by rich.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ogacli.base.wording import visible


class _Console(Console):
    """A console that only oga controls: names and texts of the data may hold codes of their own."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The parts of what is to be shown, each with characters that can be seen."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


class _Output(_Console):
    """Stdout, which its reader may close before the end, as ``| head`` does: what was to be done is done."""

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminal:
    """The two streams of one command.

    Args:
        json: Print one JSON document and nothing else on stdout.
        quiet: No progress, no notes.
        verbose: More notes.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.out = _Output()
        self.err = _Console(stderr=True)

    def result(self, document: Any, *parts: Any) -> None:
        """Print the result: as one JSON document, or as rich renderables."""
        if self.json:
            try:
                print(json.dumps(document, indent=2, ensure_ascii=False), flush=True)
            except BrokenPipeError:
                self.out.on_broken_pipe()
            return
        for part in parts:
            self.out.print(part, soft_wrap=isinstance(part, str))

    def note(self, text: str) -> None:
        """Tell the user something that is not the result."""
        if not self.quiet:
            self.err.print(escape(text), style="dim")

    def warn(self, text: str) -> None:
        """Tell the user something that matters."""
        self.err.print(f"[bold yellow]warning:[/] {escape(text)}")

    def error(self, text: str) -> None:
        """Tell the user why the command did not do it."""
        self.err.print(f"[bold red]error:[/] {escape(text)}")

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar with rate and time left; nothing where stderr is not a terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        shown = self.err.is_terminal and not self.quiet
        with Progress(*columns, console=self.err, disable=not shown, transient=True, expand=True) as progress:
            task = progress.add_task(description, total=total)
            yield lambda count: progress.advance(task, count)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> Table:
    """A plain table: first column left, the others right."""
    found = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(header):
        found.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        found.add_row(*(escape(cell) for cell in row))
    return found


def figure(value: float | None) -> str:
    """A score from 0 to 1 with three digits."""
    return "-" if value is None else f"{value:.3f}"


def shown(path: Path) -> Path:
    """The path as the user would type it: relative where it lies below the current folder."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path
