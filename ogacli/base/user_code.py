"""Code of the user's own: models, losses and data.

In: ``package.module:name`` in a config. Out: the object of that name, or what calling it returns.
"""

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

from ogacli.errors import ConfigError, OgaError


def imported(name: str, error: type[OgaError], folder: str | None = None) -> Any:
    """The object that ``package.module:name`` names.

    Args:
        name: ``package.module:name``.
        error: The error to raise.
        folder: Searched before the current folder and the installed packages.

    Raises:
        OgaError: Of the class ``error``: it cannot be imported or does not exist.
    """
    module, colon, attribute = name.partition(":")
    try:
        if not (module and colon and attribute):
            raise ImportError("not of the form package.module:name")
        with importable(folder):
            return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as problem:
        raise error(
            "cannot be imported",
            place=name,
            found=f"{type(problem).__name__}: {problem}",
            expected="package.module:name that Python can import",
            hint=f"install the package, or put the module into {folder or Path.cwd()}",
        ) from problem


def called(name: str, args: Mapping[str, Any], folder: str, *, place: str, returns: str) -> Any:
    """What a function of the user's own returns.

    Args:
        name: ``package.module:function``.
        args: What it is called with.
        folder: Searched first.
        place: The key in the config that names it.
        returns: What it should return, in words.

    Raises:
        ConfigError: It cannot be imported, or fails; the message names the line of the user's code.
    """
    function = imported(name, ConfigError, folder)
    try:
        with importable(folder):
            return function(**args)
    except Exception as error:  # the code is not ours: anything may go wrong in it
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            "the factory fails",
            place=place,
            found=f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})",
            expected=f"a call with the arguments {dict(args) or 'none'} to return {returns}",
        ) from error


def optional(package: str, extra: str, place: str) -> Any:
    """A package that one of our extras brings.

    Args:
        package: The package's name.
        extra: The extra's.
        place: The key in the config that asks for it.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the package {error.name} is not installed", place=place, hint=f"pip install 'ogacli[{extra}]'"
        ) from error


@contextmanager
def importable(folder: str | None) -> Iterator[None]:
    """While it is open, modules in ``folder`` and in the current folder can be imported."""
    before = list(sys.path)
    sys.path[:0] = [path for path in (folder, str(Path.cwd())) if path is not None]
    invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
