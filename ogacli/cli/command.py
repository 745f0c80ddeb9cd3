"""The decorator ``@command(order=..)``, which makes a function in any module of ``ogacli.cli`` a command.

The function's name is the name of the command, its docstring the help, its parameters are the arguments.
"""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__oga_command__"


def command(order: int = 1000) -> Callable[[F], F]:
    """Mark a function as a command.

    Args:
        order: Position in ``oga --help``, ascending; equal ones are sorted by name.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, order)
        return function

    return mark


def commands(modules: Iterable[ModuleType]) -> list[Callable[..., Any]]:
    """The marked functions of these modules, in the order of ``oga --help``."""
    marked = [value for module in modules for value in vars(module).values() if hasattr(value, _MARK)]
    return sorted(marked, key=lambda function: (getattr(function, _MARK), function.__name__))
