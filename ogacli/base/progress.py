"""The interface by which long steps report progress; the caller chooses the display."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """A display of progress."""

    def bar(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A step of ``total`` samples; it yields a function that takes the number of further samples done."""
        ...


class Silent:
    """No display."""

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """A step that displays nothing."""
        yield lambda count: None


SILENT = Silent()
"""The default of every function that takes a ``Progress``."""
