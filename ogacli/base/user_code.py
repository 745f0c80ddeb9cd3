"""The user's own code: models, losses and data.

In: ``package.module:name`` in a config. Out: the object of that name, or the result of a call of it.
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
        error: The class of the error to raise.
        folder: A folder to search before the current folder and the installed packages.

    Raises:
        OgaError: An error of the class ``error``: the object cannot be imported or does not exist.
    """
    module, colon, attribute = name.partition(":")
    try:
        if not (module and colon and attribute):
            raise ImportError("not of the form package.module:name")
        with importable(folder):
            return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as problem:
        hint = f"install the package, or put the module into {folder or Path.cwd()}"
        if module.endswith(".py"):
            hint = f"write the module without its suffix: {module.removesuffix('.py')}:{attribute}"
        raise error(
            "cannot be imported",
            place=name,
            found=f"{type(problem).__name__}: {problem}",
            expected="package.module:name that Python can import",
            hint=hint,
        ) from problem


def called(name: str, args: Mapping[str, Any], folder: str, *, place: str, returns: str) -> Any:
    """The result of a call of the user's function.

    Args:
        name: ``package.module:function``.
        args: Its arguments.
        folder: The folder to search first.
        place: The key in the config that names the function.
        returns: What it should return, for the message.

    Raises:
        ConfigError: It cannot be imported, or fails; the message names the line of the user's code.
    """
    function = imported(name, ConfigError, folder)
    try:
        with importable(folder):
            return function(**args)
    except Exception as error:  # the user's code may raise anything
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            "the factory fails",
            place=place,
            found=f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})",
            expected=f"a call with the arguments {dict(args) or 'none'} to return {returns}",
        ) from error


def optional(package: str, extra: str, place: str) -> Any:
    """Import a package that an extra of this distribution installs.

    Args:
        package: The name of the package.
        extra: The name of the extra.
        place: The key in the config that needs it.

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
    """Within the block, modules in ``folder`` and in the current folder can be imported."""
    before = list(sys.path)
    sys.path[:0] = [path for path in (folder, str(Path.cwd())) if path is not None]
    invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
