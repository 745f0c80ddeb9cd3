"""Option classes: frozen pydantic models whose fields are the YAML keys of one section.

An option class belongs in the file of the thing that it configures; the docstring under each field is its
documentation. In: the keys and values of a section, from YAML or from Python. Out: an instance of the class,
or one ``ConfigError`` that lists every problem with its place.
"""

import ast
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from ogacli.base.wording import suggestion
from ogacli.errors import ConfigError

Key = tuple[str | int, ...]
"""The path to a nested value: names of keys, and indices in lists."""
Where = Callable[[Key], str]
"""From a key to its place in a message, such as ``config.yaml:3: detector.trees``."""


class Options(BaseModel):
    """Base of all option classes: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @classmethod
    def checked(
        cls,
        values: Any,
        where: Where,
        base: Path | None = None,
        owner: Callable[[str], str | None] = lambda name: None,
    ) -> Self:
        """An instance with these values.

        Args:
            values: A mapping of the class's keys.
            where: From a key of ``values`` to its place in a message.
            base: The folder that relative paths are relative to; the current folder by default.
            owner: From an unknown key to the section or class that has it, or None.

        Raises:
            ConfigError: Keys or values are wrong; each problem is listed.
        """
        if not isinstance(values, dict):
            raise ConfigError(
                "not a section", place=where(()), found=repr(values), expected="keys and values"
            )
        try:
            return cls.model_validate(values, context={"base": base or Path.cwd()})
        except ValidationError as error:
            raise ConfigError.of(list(_problems(cls, values, error, where, owner))) from None
        except ConfigError as error:
            raise error.at(where(())) from None

    @classmethod
    def given(cls, values: "Mapping[str, Any] | Options | None", place: str) -> Self:
        """An instance from an argument of a Python function.

        Args:
            values: Options of this class, or keys and values; None for the defaults.
            place: The name of the argument, for messages.

        Raises:
            ConfigError: As :meth:`checked`.
        """
        if isinstance(values, cls):
            return values
        return cls.checked(dict(values or {}), lambda key: dotted((place, *key)))

    def plain(self) -> dict[str, Any]:
        """The options that are set, as plain YAML values."""
        return self.model_dump(mode="json", exclude_none=True)


def path_given(value: object, place: str) -> Path:
    """A path from an argument of a Python function.

    Args:
        value: What was given.
        place: The name of the argument, for messages.

    Raises:
        ConfigError: It is no path.
    """
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise ConfigError("not a path", place=place, found=repr(value), expected="a text or a pathlib.Path")


class ShellText(str):
    """Text given by ``--set``: relative paths in it are relative to the current folder."""


def locate(path: str, base: Path) -> str:
    """``path`` as an absolute path or URL; a relative path is relative to ``base``.

    A ``~`` at its start is the home folder, and part of a name where the machine knows no such user.
    """
    if "://" in path:
        return path
    start = Path.cwd() if isinstance(path, ShellText) else base
    return os.path.normpath(start / os.path.expanduser(path))


def _located(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and value:
        return locate(value, (info.context or {}).get("base", Path.cwd()))
    return value


Location = Annotated[str, BeforeValidator(_located)]
"""A path or fsspec URL; made absolute when the config is loaded (relative to the config's own file)."""


def dotted(key: Key) -> str:
    """A key in one string, such as ``detector[1].trees``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def unknown_key(name: str, place: str, known: Sequence[str]) -> ConfigError:
    """The error for a key that does not exist; the message names the nearest key that does."""
    near = suggestion(name, known)
    expected = f"one of {', '.join(sorted(known))}" if known and not near else None
    return ConfigError(f"unknown key{near}", place=place, expected=expected)


def _problems(
    cls: type[Options],
    values: Mapping[str, Any],
    error: ValidationError,
    where: Where,
    owner: Callable[[str], str | None],
) -> list[ConfigError]:
    """The errors of pydantic as ``ConfigError``s.

    For a value that fits none of several types pydantic has several errors; they become one.
    """
    found: list[ConfigError] = []
    mistyped: dict[Key, tuple[str, list[str]]] = {}
    keys: list[Key] = []
    for details in error.errors():
        key = _written(details["loc"], values, absent=details["type"] == "missing")
        keys.append(key)
        match details["type"]:
            case "extra_forbidden":
                name = str(key[-1])
                if len(key) == 1 and (other := owner(name)):
                    found.append(ConfigError(f"`{name}` belongs to {other}", place=where(key)))
                else:
                    found.append(unknown_key(name, where(key), option_names(cls, key[:-1])))
            case "missing":
                found.append(ConfigError("missing", place=where(key)))
            case "value_error":
                value = repr(details["input"]) if key else None
                found.append(ConfigError(str(details["ctx"]["error"]), place=where(key), found=value))
            case _:
                expected = str(details["msg"]).removeprefix("Input should be ").partition(", unable")[0]
                mistyped.setdefault(key, (repr(details["input"]), []))[1].append(expected)
    for key, (value, types) in mistyped.items():
        if any(len(other) > len(key) and other[: len(key)] == key for other in keys):
            continue  # the value fits a type that has keys, and one of its keys is wrong
        expected = " or ".join(types)
        found.append(ConfigError("not a valid value", place=where(key), found=value, expected=expected))
    return found


def option_names(options: type[Options], path: Key = ()) -> list[str]:
    """The keys that ``options`` have at a path within them; empty where any key is allowed."""
    levels = [options]
    for part in path:
        fields = [field for level in levels for name, field in level.model_fields.items() if name == part]
        levels = [inner for field in fields for inner in _option_classes(field.annotation)]
    return sorted({name for level in levels for name in level.model_fields})


def field_docs(cls: type) -> dict[str, str]:
    """The docstrings below the fields of a class, its bases' included.

    They are read from the source, as pydantic would do for every class that is imported.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ == "builtins" or base.__module__.partition(".")[0] == "pydantic":
            continue
        (definition,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, after in pairwise(definition.body):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(after.value))
    return found


def _option_classes(annotation: Any) -> list[type[Options]]:
    """The option classes in an annotation such as ``int | Limit | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return [annotation]
    return [found for part in get_args(annotation) for found in _option_classes(part)]


def _written(location: Sequence[str | int], values: Any, *, absent: bool) -> Key:
    """The keys in an error location of pydantic, without the names of types in it.

    ``absent``: the last key of the location is missing in the values.
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
