"""``--set dotted.key=value`` changes of a parsed config.

In: a ``Document`` and the texts of the options, the values in YAML. Out: the document, changed in place; the
place of a changed key is ``--set``.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from ogacli.base.options import ShellText
from ogacli.base.yaml_document import Document
from ogacli.errors import ConfigError

_WORDS = {
    ("data",): "source",
    ("model",): "source",
    ("detector",): "name",
    ("loss",): "name",
    ("verify", "test"): "source",
    ("validation",): "source",
    ("query",): "source",
}
"""Sections that may be a single word, and the key whose value that word is."""


def override(document: Document, overrides: Sequence[str]) -> None:
    """Apply each ``dotted.key=value`` to the document.

    Raises:
        ConfigError: One is not of that form, its value is not YAML, or there is no such entry; each problem
            is listed.
    """
    problems = []
    for one in overrides:
        try:
            _apply(document, one)
        except ConfigError as problem:
            problems.append(problem)
    if problems:
        raise ConfigError.of(problems)


def _apply(document: Document, override: str) -> None:
    dotted, equals, text = override.partition("=")
    place = f"--set {dotted}"
    if not equals or not dotted:
        raise ConfigError(
            "not an override", place="--set", found=override, expected="key=value, such as budget=0.1"
        )
    try:
        value = _from_shell(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError):
        raise ConfigError("the value is not valid YAML", place=place, found=text) from None
    key: list[str | int] = []
    target: Any = document.values
    parts = dotted.split(".")
    for part in parts[:-1]:
        key.append(_step(target, part, place))
        target = _opened(target, key)
    key.append(_step(target, parts[-1], place))
    target[key[-1]] = value
    for depth in range(1, len(key)):
        document.lines.setdefault(tuple(key[:depth]), "--set")  # sections that only this override makes
    document.replaced(tuple(key), "--set")


def _step(target: Any, part: str, place: str) -> str | int:
    """The key or index by which ``part`` is found in ``target``."""
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise ConfigError("the key above it holds a value, not keys", place=place, found=repr(target))
    if not part.isdecimal() or int(part) >= len(target):
        raise ConfigError("no such entry", place=place, found=part, expected=f"0 to {len(target) - 1}")
    return int(part)


def _opened(above: Any, key: Sequence[str | int]) -> Any:
    """The section at ``key``, whose last part is in ``above``.

    A missing section is made, and one that is a single word becomes a mapping.
    """
    found = above.get(key[-1]) if isinstance(above, dict) else above[key[-1]]
    if found is None:
        found = {}
    by = _WORDS.get(tuple(part for part in key if isinstance(part, str)))
    if by is not None and isinstance(found, str):
        found = {by: found}
    above[key[-1]] = found
    return found


def _from_shell(value: Any) -> Any:
    """The value with all texts in it marked as given by the shell."""
    if isinstance(value, str):
        return ShellText(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _from_shell(item) for name, item in value.items()}
    return value
