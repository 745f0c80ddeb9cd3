"""How far a command is, in lines, where stderr is no terminal.

In: steps that note their progress. Out: a line every ``EVERY`` seconds, also while nothing advances, as in a
batch that takes minutes; a command that ends before prints none.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ogacli.base.progress import Step

EVERY = 20.0
"""Seconds between two lines."""


class Lines:
    """The lines of one command.

    Args:
        write: Writes a line.
        every: Seconds between two lines; ``EVERY`` where left out.
    """

    def __init__(self, write: Callable[[str], None], every: float | None = None) -> None:
        self._write = write
        self._every = EVERY if every is None else every
        self._told = time.monotonic()
        """When the last line was written; at first, when the command began."""

    @contextmanager
    def of(self, step: Step) -> Iterator[None]:
        """Write how far the step is while the block runs; once more at its end, where its lines were seen."""
        before, ended = self._told, threading.Event()
        watch = threading.Thread(target=self._watch, args=(step, ended), name="oga progress", daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()
        if self._told > before:
            self._tell(step)

    def _watch(self, step: Step, ended: threading.Event) -> None:
        while not ended.wait(max(0.0, self._told + self._every - time.monotonic())):
            self._tell(step)

    def _tell(self, step: Step) -> None:
        self._told = time.monotonic()
        now = step.state
        ahead = f", {now.seconds_left:,.0f} s left" if now.seconds_left else ""
        self._write(f"{now.stage}: {now.done:,} of {now.total:,}, {step.pace.passed:,.0f} s{ahead}")
