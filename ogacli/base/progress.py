"""How a long step tells how far it is, without knowing who watches."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Somebody who watches."""

    def bar(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a step of ``total`` samples; what it yields is called with how many more are done."""
        ...


class Silent:
    """Nobody watches."""

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """A step that shows nothing."""
        yield lambda count: None


SILENT = Silent()
"""The default everywhere."""
