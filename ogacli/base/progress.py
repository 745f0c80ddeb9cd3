"""The interface by which long steps report progress; the caller chooses the display."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """A display of progress."""

    def bar(
        self, description: str, total: int, *, long: bool = False
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A step of ``total`` samples; it yields a function that takes the number of further samples done.

        Args:
            description: The name of the step.
            total: Its samples, or trainings.
            long: It may take hours, so that it is reported in lines where no bar can be shown.
        """
        ...

    def note(self, text: str) -> None:
        """Additional information, such as the cost of what follows."""


class Silent:
    """No display."""

    @contextmanager
    def bar(self, description: str, total: int, *, long: bool = False) -> Iterator[Callable[[int], None]]:
        """A step that displays nothing."""
        yield lambda count: None

    def note(self, text: str) -> None:
        """Display nothing."""


SILENT = Silent()
"""The default of every function that takes a ``Progress``."""
