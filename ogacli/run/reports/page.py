"""A template and its contents -> an HTML page in one file, which loads nothing from a network."""

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ogacli.base import wording


def page(package: str, template: str, **content: Any) -> str:
    """A template that lies in a package, filled in; the contents are escaped."""
    environment = Environment(
        loader=PackageLoader(package, ""),
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


def part(name: str) -> str:
    """A file of this folder, such as the style."""
    return (resources.files("ogacli.run.reports") / name).read_text(encoding="utf-8")
