"""YAML -> values that know where they were written, checked against option classes.

In: the text of a file, with ``${NAME}`` and ``${NAME:-default}`` inside values. Out: a ``Document``, and a
``Checker`` that collects every problem with file, line and dotted key.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from ogacli.base.options import Options
from ogacli.base.registry import Registry
from ogacli.errors import ConfigError

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: its values, and where each key stands."""

    place: str
    base: Path
    values: dict[str, Any]
    lines: dict[Key, str]

    def replaced(self, key: Key, place: str) -> None:
        """Remember that ``key`` and all below it were given at another place."""
        for known in [known for known in self.lines if known[: len(key)] == key]:
            del self.lines[known]
        self.lines[key] = place

    def where(self, key: Key) -> str:
        """``file:line: dotted.key`` of a key, or of the nearest key above it that is written."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        place = self.lines.get(known, self.place)
        return f"{place}: {dotted}" if dotted else place


def read(path: str | Path, noun: str, hint: str | None = None) -> Document:
    """Read and parse a file.

    Args:
        path: The YAML file.
        noun: What it should be, for the messages.
        hint: What to do where it does not exist.

    Raises:
        ConfigError: It cannot be read or parsed.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such {noun} file", place=str(path), hint=hint) from None
    except IsADirectoryError:
        inside = file / "config.yaml"  # of a run directory
        hint = f"did you mean {inside}?" if inside.is_file() else hint
        raise ConfigError(f"a folder, not a {noun} file", place=str(path), hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot be read as text", place=str(path), found=str(error)) from None
    return parse(text, str(path), file.absolute().parent, noun)


def parse(text: str, place: str, base: Path, noun: str = "config") -> Document:
    """Parse the text of a file; relative paths in it are taken from ``base``.

    Raises:
        ConfigError: It is not YAML, not a mapping, gives a key twice, or names an unset variable.
    """
    lines: dict[Key, str] = {}
    problems: list[ConfigError] = []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = {} if node is None else _build(node, (), place, lines, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            "not valid YAML", place=place + line, found=str(error.problem), expected="key: value lines"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError("not valid YAML", place=place, found=str(error)) from None
    except RecursionError:
        raise ConfigError("nested too deeply, or within itself", place=place) from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"not a {noun}", place=place, found=type(values).__name__, expected="a mapping of keys"
        )
    if problems:
        raise ConfigError.of(problems)
    return Document(place, base, values, lines)


def _build(node: yaml.Node, key: Key, place: str, lines: dict[Key, str], problems: list[ConfigError]) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            here = f"{place}:{name_node.start_mark.line + 1}"
            if name in values:
                problems.append(ConfigError("given twice", place=f"{here}: {name}"))
            lines[(*key, name)] = here
            values[name] = _build(value_node, (*key, name), place, lines, problems)
        return values
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            lines[(*key, i)] = f"{place}:{item.start_mark.line + 1}"
            items.append(_build(item, (*key, i), place, lines, problems))
        return items
    here = f"{place}:{node.start_mark.line + 1}"
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except ValueError as error:  # such as the 30th of February
        problems.append(ConfigError("not a value", place=here, found=node.value, expected=str(error)))
        return None
    return _expand(value, here, problems) if isinstance(value, str) else value


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _expand(text: str, place: str, problems: list[ConfigError]) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}``; an unset name without a default is a problem."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            problems.append(
                ConfigError(
                    f"environment variable {name} is not set",
                    place=place,
                    hint=f"set it, or write ${{{name}:-default}}",
                )
            )
            return ""
        return found

    return _VARIABLE.sub(value, text)


class Checker:
    """Checks one section after the other and remembers every problem."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[ConfigError] = []

    def options(self, cls: type[Options], values: Any, key: Key) -> Any:
        """``values`` as an instance of ``cls``; None where they are wrong."""
        if not isinstance(values, dict):
            self.add("not a section", key, found=repr(values), expected="keys and values")
            return None
        try:
            return cls.model_validate(values, context={"base": self.document.base})
        except ValidationError as error:
            self._add_invalid(cls, values, error, key)
        except ConfigError as error:
            self.problems.append(error.at(self.document.where(key)))
        return None

    def parsed(self, parse: Callable[[Any], Any], value: Any, key: Key) -> Any:
        """``parse(value)``; None where that raises a ``ConfigError``."""
        try:
            return parse(value)
        except ConfigError as error:
            self.problems.append(error.at(self.document.where(key)))
            return None

    def named(self, registry: Registry[Any], values: Any, key: Key, by: str) -> Any:
        """A section whose key ``by`` names the class that the other keys belong to."""
        if isinstance(values, str):
            values = {by: values}
        if isinstance(values, dict) and by not in values:
            self.add("missing", (*key, by), expected=f"one of {', '.join(registry.names())}")
            return None
        if not isinstance(values, dict):
            return self.options(Options, values, key)
        cls = self.parsed(registry.get, str(values[by]), (*key, by))
        if cls is None:
            return None
        return self.options(cls, {name: value for name, value in values.items() if name != by}, key)

    def add(self, problem: str, key: Key, found: object = None, expected: str | None = None) -> None:
        """Note a problem at a key."""
        self.problems.append(
            ConfigError(problem, place=self.document.where(key), found=found, expected=expected)
        )

    def _add_invalid(
        self, cls: type[Options], values: Mapping[str, Any], error: ValidationError, key: Key
    ) -> None:
        """Pydantic's complaints in our words; one a place, though a value may fit none of several types."""
        mistyped: dict[Key, tuple[str, list[str]]] = {}
        places: list[Key] = []
        for details in error.errors():
            absent = details["type"] == "missing"
            inner = _written(details["loc"], values, absent=absent)
            place = (*key, *inner)
            places.append(place)
            match details["type"]:
                case "extra_forbidden":
                    self.unknown(str(inner[-1]), place, _keys(cls, inner[:-1]))
                case "missing":
                    self.add("missing", place)
                case "value_error":
                    cause = details["ctx"]["error"]
                    found = None if not inner else repr(details["input"])
                    self.add(str(cause), place, found=found)
                case _:
                    expected = str(details["msg"]).removeprefix("Input should be ").partition(", unable")[0]
                    mistyped.setdefault(place, (repr(details["input"]), []))[1].append(expected)
        for place, (found, expected_ones) in mistyped.items():
            if any(len(other) > len(place) and other[: len(place)] == place for other in places):
                continue  # one of the types has keys, and what is wrong is one of them
            self.add("not a valid value", place, found=found, expected=" or ".join(expected_ones))

    def unknown(self, name: str, key: Key, known: Sequence[str]) -> None:
        """Note a key that does not exist, with the nearest one that does."""
        near = get_close_matches(name, known, n=1)
        self.add(
            "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""),
            key,
            expected=f"one of {', '.join(sorted(known))}" if known and not near else None,
        )


def _keys(options: type[Options], path: Sequence[str | int]) -> list[str]:
    """The keys that ``options`` know at a place within them; empty where any key will do."""
    levels = [options]
    for part in path:
        fields = [
            level.model_fields[part]
            for level in levels
            if isinstance(part, str) and part in level.model_fields
        ]
        levels = [inner for field in fields for inner in _option_classes(field.annotation)]
    return sorted({name for level in levels for name in level.model_fields})


def _option_classes(annotation: Any) -> list[type[Options]]:
    """The option classes in an annotation such as ``int | Limit | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return [annotation]
    return [found for part in get_args(annotation) for found in _option_classes(part)]


def _written(location: Sequence[str | int], values: Any, *, absent: bool) -> Key:
    """The keys of pydantic's location without the names of the types that it tried.

    Where a key is ``absent``, it is the last one.
    """
    key: list[str | int] = []
    for i, part in enumerate(location):
        missing = absent and i == len(location) - 1
        if isinstance(values, dict) and (part in values or missing):
            key.append(part)
            values = values.get(str(part))
        elif isinstance(values, list) and isinstance(part, int):
            key.append(part)
            values = values[part]
    return tuple(key)
