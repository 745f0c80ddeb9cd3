"""A template and its contents -> an HTML page in one file, which loads nothing from a network."""

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined

from ogacli.base import wording


def page(package: str, template: str, **content: Any) -> str:
    """A template that lies in a package, filled in; the contents are escaped."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        bytecode_cache=_compiled(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "percent": wording.percent,
        "decimal": wording.decimal,
        "cut": wording.cut,
    }
    return environment.get_template(template).render(**content) + "\n"


def _compiled(package: str) -> FileSystemBytecodeCache | None:
    """Where Python keeps the compiled modules of a package, for its templates; None where it may not.

    To compile a template takes as long as to fill it in with 20,000 samples.
    """
    folder = Path(str(resources.files(package)), "__pycache__")
    writes = not sys.dont_write_bytecode and sys.pycache_prefix is None and os.access(folder, os.W_OK)
    return FileSystemBytecodeCache(str(folder), "%s.jinja") if writes else None


def part(name: str) -> str:
    """A file of this folder, such as the style."""
    return (resources.files("ogacli.run.reports") / name).read_text(encoding="utf-8")
