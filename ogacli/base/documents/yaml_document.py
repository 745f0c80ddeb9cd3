"""YAML files, parsed with the line of each key and checked against option classes.

In: the text of a file, with ``${NAME}`` and ``${NAME:-default}`` inside values. Out: a ``Document``, and a
``Checker`` that collects every problem with its file, line and dotted key.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ogacli.base.documents.json_document import read_bytes
from ogacli.base.documents.yaml_values import Parsed, decoded
from ogacli.base.options import Key, Options, Where, dotted, unknown_key
from ogacli.base.registry import Registry, resolve, resolve_all
from ogacli.errors import ConfigError

T = TypeVar("T")
O = TypeVar("O", bound=Options)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: its values, and the place of each key."""

    place: str
    base: Path
    values: dict[str, Any]
    lines: dict[Key, str]

    def replaced(self, key: Key, place: str) -> None:
        """Record another place, such as ``--set``, for ``key`` and all keys below it."""
        for known in [known for known in self.lines if known[: len(key)] == key]:
            del self.lines[known]
        self.lines[key] = place

    def where(self, key: Key) -> str:
        """``file:line: dotted.key`` of a key, or of the nearest key above it in the file."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        place = self.lines.get(known, self.place)
        return f"{place}: {dotted(key)}" if key else place


def read(path: str | Path, noun: str, hint: str | None = None) -> Document:
    """Read and parse a file.

    Args:
        path: The YAML file.
        noun: What the file should be, such as ``config``, for messages.
        hint: The next step where it does not exist.

    Raises:
        ConfigError: It cannot be read or parsed.
    """
    file = Path(path)
    try:
        content = read_bytes(file, ConfigError)
    except FileNotFoundError:
        raise ConfigError(f"no such {noun} file", place=str(path), hint=hint) from None
    except ConfigError:
        if not os.path.isdir(file):
            raise
        inside = file / "config.yaml"  # of a run directory
        hint = f"did you mean {inside}?" if inside.is_file() else hint
        raise ConfigError(f"a folder, not a {noun} file", place=str(path), hint=hint) from None
    return parse(decoded(content, str(path)), str(path), file.absolute().parent, noun)


def parse(text: str, place: str, base: Path, noun: str = "config") -> Document:
    """Parse the text of a file; relative paths in it are relative to ``base``.

    Raises:
        ConfigError: It is not YAML, not a mapping, gives a key twice, or names an unset variable.
    """
    parsed = Parsed(place, expand=True)
    values = parsed.values(text)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"not a {noun}", place=place, found=type(values).__name__, expected="a mapping of keys"
        )
    if parsed.problems:
        raise ConfigError.of(parsed.problems)
    return Document(place, base, values, parsed.lines)


class Checker:
    """Checks sections and collects every problem."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[ConfigError] = []

    def options(self, cls: type[Options], values: Any, key: Key) -> Any:
        """``values`` as an instance of ``cls``; None where they are wrong."""
        return self._kept(lambda: cls.checked(values, self._within(key), self.document.base))

    def parsed(self, parse: Callable[[Any], T], value: Any, key: Key) -> T | None:
        """``parse(value)``; None where that raises a ``ConfigError``."""

        def placed() -> T:
            try:
                return parse(value)
            except ConfigError as error:
                raise error.at(self.document.where(key)) from None

        return self._kept(placed)

    def placed(self, parse: Callable[[Any, Where], T], value: Any, key: Key) -> T | None:
        """``parse(value, where)``, whose errors name keys within the value; None where it raises one."""
        return self._kept(lambda: parse(value, self._within(key)))

    def named(self, registry: Registry[type[O]], values: Any, key: Key, by: str) -> O | None:
        """The options of a section whose key ``by`` names their class; None where they are wrong."""
        within, base = self._within(key), self.document.base
        return self._kept(lambda: resolve(registry, values, by=by, place=within, base=base))

    def all_named(self, registry: Registry[type[O]], values: Any, key: Key, by: str) -> tuple[O, ...]:
        """The options of one such section or of a list of them; none where one is wrong."""
        within, base = self._within(key), self.document.base
        return self._kept(lambda: resolve_all(registry, values, by=by, place=within, base=base)) or ()

    def add(self, problem: str, key: Key, found: object = None, expected: str | None = None) -> None:
        """Add a problem at a key."""
        place = self.document.where(key)
        self.problems.append(ConfigError(problem, place=place, found=found, expected=expected))

    def unknown(self, name: str, key: Key, known: Sequence[str]) -> None:
        """Add the problem of a key that does not exist; the message names the nearest key that does."""
        self.problems.append(unknown_key(name, self.document.where(key), known))

    def _within(self, key: Key) -> Where:
        """From a key below ``key`` to its place."""
        return lambda inner: self.document.where((*key, *inner))

    def _kept(self, check: Callable[[], T]) -> T | None:
        """The result of ``check``; None where it raises a ``ConfigError``, which is collected."""
        try:
            return check()
        except ConfigError as error:
            self.problems.append(error)
            return None
