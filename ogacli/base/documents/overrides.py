"""``--set dotted.key=value`` changes of a parsed document.

In: a ``Document`` and the overrides; their values are YAML. Out: the document, changed in place. The place of
a changed key is ``--set``.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ogacli.base.documents.yaml_document import Document
from ogacli.base.documents.yaml_values import plain_values
from ogacli.base.options import ShellText
from ogacli.errors import ConfigError

_NO_WORDS: Mapping[str, str] = MappingProxyType({})


def override(document: Document, overrides: Sequence[str], words: Mapping[str, str] = _NO_WORDS) -> None:
    """Apply each ``dotted.key=value`` to the document.

    Args:
        document: The document.
        overrides: The changes.
        words: Sections that may be a single word, and the key that the word is the value of.

    Raises:
        ConfigError: One has another form, a value that is not YAML, or an index outside of the list; each
            problem is listed.
    """
    problems = []
    for text in overrides:
        try:
            _apply(document, text, words)
        except ConfigError as problem:
            problems.append(problem)
    if problems:
        raise ConfigError.of(problems)


def _apply(document: Document, override: str, words: Mapping[str, str]) -> None:
    dotted, equals, text = override.partition("=")
    place = f"--set {dotted}"
    if not equals or not dotted:
        raise ConfigError(
            "not an override", place="--set", found=override, expected="key=value, such as budget=0.1"
        )
    try:
        value = _from_shell(plain_values(text, place))
    except ConfigError as problem:
        expected = None if problem.found is None else str(problem.found)
        raise ConfigError(
            "the value is not valid YAML", place=place, found=text, expected=expected or problem.problem
        ) from None
    key: list[str | int] = []
    target: Any = document.values
    parts = dotted.split(".")
    for part in parts[:-1]:
        key.append(_step(target, part, place))
        target = _opened(target, key, words)
    key.append(_step(target, parts[-1], place))
    target[key[-1]] = value
    for depth in range(1, len(key)):
        document.lines.setdefault(tuple(key[:depth]), "--set")  # sections that only this override makes
    document.replaced(tuple(key), "--set")


def _step(target: Any, part: str, place: str) -> str | int:
    """``part`` as a key of the mapping, or index of the list, ``target``."""
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise ConfigError("the key above it holds a value, not keys", place=place, found=repr(target))
    if not part.isdecimal() or int(part) >= len(target):
        raise ConfigError("no such entry", place=place, found=part, expected=f"0 to {len(target) - 1}")
    return int(part)


def _opened(above: Any, key: Sequence[str | int], words: Mapping[str, str]) -> Any:
    """The section at ``key``; its last part is a key or index of ``above``.

    A missing section is added, and a section that is a single word becomes a mapping.
    """
    section = above.get(key[-1]) if isinstance(above, dict) else above[key[-1]]
    by = words.get(".".join(part for part in key if isinstance(part, str)))
    if section is None:
        section = {}
    elif by is not None and isinstance(section, str):
        section = {by: section}
    above[key[-1]] = section
    return section


def _from_shell(value: Any) -> Any:
    """The value with every text in it as ``ShellText``."""
    if isinstance(value, str):
        return ShellText(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _from_shell(item) for name, item in value.items()}
    return value
