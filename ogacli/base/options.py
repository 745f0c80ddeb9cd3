"""Option classes: frozen pydantic models whose fields are the YAML keys of one section.

An option class stands in the file of the thing that it configures; the docstring under each field is its
documentation. In: the keys and values of a section, from YAML or from Python. Out: an instance of the class,
or one ``ConfigError`` that lists every problem with its place.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from ogacli.errors import ConfigError

Key = tuple[str | int, ...]
"""A place in nested values: names of keys, and indices in lists."""
Where = Callable[[Key], str]
"""How a message names a key, such as ``config.yaml:3: detector.trees``."""


class Options(BaseModel):
    """Base of all option classes: immutable, unknown keys are refused, field docstrings are kept."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

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
            where: Names a key of ``values`` in a message.
            base: The folder that relative paths start from; the current one where left out.
            owner: What a key that this class does not have belongs to instead, where that is known.

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
        """An instance from Python: options as they are, or keys and values.

        Args:
            values: Options, or keys and values; the defaults where left out.
            place: Names them in a message.

        Raises:
            ConfigError: As :meth:`checked`.
        """
        if isinstance(values, cls):
            return values
        return cls.checked(dict(values or {}), lambda key: dotted((place, *key)))

    def plain(self) -> dict[str, Any]:
        """The options that are set, as plain YAML values."""
        return self.model_dump(mode="json", exclude_none=True)


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


def dotted(key: Key) -> str:
    """A key as a person writes it, such as ``detector[1].trees``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def unknown_key(name: str, place: str, known: Sequence[str]) -> ConfigError:
    """The problem of a key that does not exist; the message names the nearest one that does."""
    near = get_close_matches(name, known, n=1)
    return ConfigError(
        "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""),
        place=place,
        expected=f"one of {', '.join(sorted(known))}" if known and not near else None,
    )


def _problems(
    cls: type[Options],
    values: Mapping[str, Any],
    error: ValidationError,
    where: Where,
    owner: Callable[[str], str | None],
) -> list[ConfigError]:
    """What pydantic found, in our words.

    A value that fits none of several types gives several errors in pydantic and one problem here.
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
            continue  # one of the types has keys, and the mistake is in one of them
        expected = " or ".join(types)
        found.append(ConfigError("not a valid value", place=where(key), found=value, expected=expected))
    return found


def option_names(options: type[Options], path: Key = ()) -> list[str]:
    """The keys that ``options`` know at a place within them; empty where any key is allowed."""
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
    """The keys of pydantic's location, without the names of the types that it tried.

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
