"""A policy file with every key, its meaning and its default.

In: the conditions. Out: YAML, which as it is means the same as no policy.
"""

import textwrap
from pathlib import Path

import yaml

from ogacli.base.atomic import new_file
from ogacli.base.options import field_docs
from ogacli.run.gate.conditions import Condition, all_conditions
from ogacli.run.gate.limits import plain_limit

_HEAD = """\
# The policy of `oga gate RUN --policy FILE`: what a dataset must fulfil to pass. Every key has its default.
# A share such as 5% or 0.05 is of the scored samples, a whole number a count; null switches a condition off.
"""
_WIDTH = 108


def starter() -> str:
    """The text of the file."""
    known: set[str] = set()
    parts = [_HEAD]
    for cls in all_conditions():
        keys = [name for name in cls.model_fields if name not in known]
        known.update(keys)
        if keys:
            parts.append("\n".join(line for name in keys for line in _lines(cls, name)) + "\n")
    return "\n".join(parts)


def write_starter(file: Path, *, overwrite: bool = False) -> None:
    """Write the file.

    Raises:
        RunError: It exists and ``overwrite`` is off, or it cannot be written.
    """
    with new_file(file, overwrite=overwrite) as opened:
        opened.write(starter().encode())


def _lines(cls: type[Condition], name: str) -> list[str]:
    """A key with its meaning above."""
    field = cls.model_fields[name]
    meaning = field_docs(cls)[name].replace("``", "`")
    comment = textwrap.wrap(" ".join(meaning.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")
    value = yaml.safe_dump({name: plain_limit(field.get_default(call_default_factory=True))}, sort_keys=False)
    return [*comment, value.strip()]
