"""``package.module:name`` in a config -> the object; for models, losses and data of the user's own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

from ogacli.errors import OgaError


def imported(name: str, error: type[OgaError], folder: str | None = None) -> Any:
    """The object that ``package.module:name`` names.

    Args:
        name: What the config says.
        error: The error to raise.
        folder: Looked in before the current folder and the installed packages.

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
