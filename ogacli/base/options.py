"""What every section of a config is made of: frozen options whose fields are the YAML keys.

An option class stands in the file of the thing that it configures; the docstring under each field is its
documentation.
"""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo


class Options(BaseModel):
    """Base of all option classes: immutable, unknown keys refused, field docstrings kept."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )


class ShellText(str):
    """Text given by ``--set``: relative paths in it are relative to the current folder."""


def locate(path: str, base: Path) -> str:
    """``path`` as an absolute path or URL; relative ones are taken from ``base``."""
    if "://" in path:
        return path
    start = Path.cwd() if isinstance(path, ShellText) else base
    return os.path.normpath(start / Path(path).expanduser())


def _located(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) and value:
        return locate(value, (info.context or {}).get("base", Path.cwd()))
    return value


Location = Annotated[str, BeforeValidator(_located)]
"""A path or fsspec URL; made absolute when the config is loaded (relative to the config's own file)."""
