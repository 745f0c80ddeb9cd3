"""YAML that may come from anybody -> plain values, and the line of each key.

In: a text, in which ``${NAME}`` and ``${NAME:-default}`` may be replaced from the environment. Out: dicts,
lists and scalars. What is nested too deeply, too long, or repeated too often by aliases is an error; time and
memory do not depend on what it would grow to.
"""

import os
import re
from typing import Any

import yaml

from ogacli.base.options import Key
from ogacli.base.wording import cut
from ogacli.errors import ConfigError

_LARGEST, _DEEPEST, _MOST = 1 << 22, 64, 200_000
"""Characters of a file, sections within one another, and values; what an alias repeats counts each time."""
_SHOWN = 60
_NUMBER = 400
"""Characters of a number, at most; the time that a longer one takes grows with the square of its length."""
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_WHOLE = range(-(1 << 63), 1 << 64)


def plain_values(text: str | bytes, place: str) -> Any:
    """The values of YAML that may come from anybody: no ``${NAME}`` in it is replaced.

    Args:
        text: YAML; bytes in UTF-8.
        place: Where it is from, for messages.

    Raises:
        ConfigError: It is not YAML, or gives a key twice.
    """
    parsed = Parsed(place, expand=False)
    values = parsed.values(decoded(text, place) if isinstance(text, bytes) else text)
    if parsed.problems:
        raise ConfigError.of(parsed.problems)
    return values


def decoded(content: bytes, place: str) -> str:
    """The text of a file in UTF-8.

    Raises:
        ConfigError: It is none.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("cannot be read as text", place=place, found=str(error)) from None


class _Beyond(Exception):
    """There is more in a text than is read."""


class _Loader(yaml.SafeLoader):
    """The composer of PyYAML, which stops at too many values and where they are nested too deeply."""

    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.count += 1
        if (problem := _beyond(self.depth, self.count // 2)) is not None:  # a key and a value are two nodes
            raise _Beyond(problem)
        found = super().compose_node(parent, index)
        self.depth -= 1
        return found


def _beyond(depth: int, count: int) -> str | None:
    """What is above the limits; None where nothing is."""
    if depth > _DEEPEST:
        return f"nested too deeply, or within itself; at most {_DEEPEST} levels are read"
    return f"too many values; at most {_MOST:,} are read" if count > _MOST else None


class Parsed:
    """YAML -> values, the line of each key, and all problems.

    Args:
        place: The file.
        expand: Whether ``${NAME}`` is replaced.
    """

    def __init__(self, place: str, *, expand: bool) -> None:
        self.place = place
        self.lines: dict[Key, str] = {}
        self.problems: list[ConfigError] = []
        self._expand = expand
        self._count = 0
        self._scalars = yaml.SafeLoader("")

    def values(self, text: str) -> Any:
        """All values; None where there are none.

        Raises:
            ConfigError: It is not YAML, or there are too many values.
        """
        if len(text) > _LARGEST:
            raise ConfigError(
                "too large", place=self.place, found=f"{len(text):,} characters", expected=f"{_LARGEST:,}"
            )
        try:
            node = yaml.compose(text, Loader=_Loader)
            return None if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(
                "not valid YAML",
                place=self.place + line,
                found=str(error.problem),
                expected="key: value lines",
            ) from None
        except _Beyond as error:
            raise ConfigError(str(error), place=self.place) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # "\\U0fffffff" is no character
            raise ConfigError("not valid YAML", place=self.place, found=str(error)) from None

    def _value(self, node: yaml.Node, key: Key) -> Any:
        self._count += 1
        if (problem := _beyond(len(key), self._count)) is not None:
            raise _Beyond(problem)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN:
            self.problems.append(
                ConfigError("not valid YAML", place=self._line(node), found=f"tag {node.tag}")
            )
            return None
        if isinstance(node, yaml.MappingNode):
            return self._section(node, key)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for i, item in enumerate(node.value):
                self.lines[(*key, i)] = self._line(item)
                items.append(self._value(item, (*key, i)))
            return items
        return self._scalar(node)

    def _section(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            here = self._line(name_node)
            if not isinstance(name_node, yaml.ScalarNode):
                self.problems.append(ConfigError("a key that is a list or a section", place=here))
                continue
            name = str(name_node.value)
            if name in values:
                self.problems.append(ConfigError("given twice", place=f"{here}: {name}"))
            self.lines[(*key, name)] = here
            values[name] = self._value(value_node, (*key, name))
        return values

    def _scalar(self, node: yaml.Node) -> Any:
        here = self._line(node)
        if node.tag in _NUMBERS and len(node.value) > _NUMBER:
            problem = ConfigError(
                "not a value",
                place=here,
                found=f"a number of {len(node.value):,} characters: {cut(node.value, _SHOWN)}",
                expected="at most 64 bits; texts stand in quotes",
            )
            self.problems.append(problem)
            return None
        try:
            value = self._scalars.construct_object(node)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, yaml.YAMLError) as error:
            # Such as the 30th of February, or a tag that the value does not fit: !!bool x.
            reason = str(error) if isinstance(error, ValueError) else f"a value that fits the tag {node.tag}"
            what = "not valid YAML" if isinstance(error, yaml.YAMLError) else "not a value"
            self.problems.append(
                ConfigError(what, place=here, found=cut(str(node.value), _SHOWN), expected=reason)
            )
            return None
        if isinstance(value, int) and value not in _WHOLE:
            self.problems.append(
                ConfigError(
                    "not a value", place=here, found=cut(node.value, _SHOWN), expected="at most 64 bits"
                )
            )
            return None
        return _expand(value, here, self.problems) if self._expand and isinstance(value, str) else value

    def _line(self, node: yaml.Node) -> str:
        return f"{self.place}:{node.start_mark.line + 1}"


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
