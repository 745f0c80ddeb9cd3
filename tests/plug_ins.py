"""A distribution of another author, installed for one test."""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ogacli.base.registry import Registry


@contextmanager
def installed(folder: Path, registry: Registry[Any], module: str, text: str) -> Iterator[None]:
    """Install the distribution ``others`` as pip does; on exit forget what its module registered.

    Args:
        folder: Where to install it.
        registry: Of the package that the distribution extends.
        module: The distribution's only module.
        text: The source of the module.
    """
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(textwrap.dedent(text))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.package}]\n{module} = {module}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        try:
            yield
        finally:
            # Modules of ogacli that were imported meanwhile are not imported again: they stay registered.
            for name in [name for name, thing in registry._found.items() if thing.__module__ == module]:
                del registry._found[name]
            sys.modules.pop(module, None)
