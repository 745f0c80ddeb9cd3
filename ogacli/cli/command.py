"""How a function becomes a command: ``@command(order=..)`` above it, in any module of ``ogacli.cli``.

Its name is the command's, its docstring the help, and its parameters the arguments and options.
"""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__oga_command__"
_LAST = 1000


def command(order: int = _LAST) -> Callable[[F], F]:
    """Mark a function as a command.

    Args:
        order: Where ``oga --help`` lists it: ascending, by name where equal.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, order)
        return function

    return mark


def commands(modules: Iterable[ModuleType]) -> list[Callable[..., Any]]:
    """The marked functions of these modules, in the order of the help."""
    found = [thing for module in modules for thing in vars(module).values() if hasattr(thing, _MARK)]
    return sorted(found, key=lambda function: (getattr(function, _MARK), function.__name__))
