"""The interface by which long steps report progress; the caller chooses the display."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from ogacli.base.pace import Pace


class Advance(Protocol):
    """Notes that more samples are done."""

    def __call__(self, count: int, work: float | None = None, /) -> None:
        """Note progress.

        Args:
            count: How many more samples are done.
            work: How much of the step's ``work`` they were: 0 where they were done before the step began. By
                default each sample is the same work.
        """
        ...


class Progress(Protocol):
    """A display of progress."""

    def bar(
        self, description: str, total: int, *, work: float | None = None
    ) -> AbstractContextManager[Advance]:
        """A step of ``total`` samples; it yields a function that takes the number of further samples done.

        Args:
            description: The name of the step.
            total: Its samples, or trainings.
            work: The work of all of them, in a unit in which equal amounts take equal time; by default each
                sample is the same work.
        """
        ...

    def note(self, text: str) -> None:
        """Additional information, such as the cost of what follows."""

    def warn(self, text: str) -> None:
        """Something went wrong that does not stop the command."""


class Silent:
    """No display."""

    @contextmanager
    def bar(self, description: str, total: int, *, work: float | None = None) -> Iterator[Advance]:
        """A step that displays nothing."""
        yield lambda count, work=None: None

    def note(self, text: str) -> None:
        """Display nothing."""

    def warn(self, text: str) -> None:
        """Display nothing."""


SILENT = Silent()
"""The default of every function that takes a ``Progress``."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a step is."""

    stage: str
    done: int
    total: int
    seconds_left: float | None
    """Of this step; None where it is not known yet."""


class Step:
    """Counts what is done of a step, and estimates the time that is left.

    Args:
        stage: The name of the step.
        total: Its samples, or trainings.
        work: The work of all of them; by default each sample is the same work.
    """

    def __init__(self, stage: str, total: int, work: float | None = None) -> None:
        self.stage = stage
        self.total = total
        self.done = 0
        self.pace = Pace(total if work is None else work)
        self._each = work is None

    def advance(self, count: int, work: float | None = None, /) -> None:
        """Note progress, as in ``Advance``."""
        self.done += count
        if self._each and work == 0:
            self.pace.advance(-count)
        else:
            self.pace.advance(count if work is None else work)

    @property
    def state(self) -> State:
        """How far it is now."""
        left = self.pace.left
        return State(self.stage, self.done, self.total, None if left is None else round(left, 1))


class Watched:
    """A display whose progress is told to a listener as well.

    Args:
        shown: The display.
        tell: Called at the start of each step and whenever more is done; it must be quick.
    """

    def __init__(self, shown: Progress, tell: Callable[[State], None]) -> None:
        self._shown = shown
        self._tell = tell

    @contextmanager
    def bar(self, description: str, total: int, *, work: float | None = None) -> Iterator[Advance]:
        """A step that is displayed and told."""
        step = Step(description, total, work)
        self._tell(step.state)
        with self._shown.bar(description, total, work=work) as shown:

            def advance(count: int, work: float | None = None, /) -> None:
                step.advance(count, work)
                self._tell(step.state)
                shown(count, work)

            yield advance

    def note(self, text: str) -> None:
        """Display it."""
        self._shown.note(text)

    def warn(self, text: str) -> None:
        """Display it."""
        self._shown.warn(text)
