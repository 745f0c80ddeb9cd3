"""Registries: the name in YAML -> the class, and a section of YAML or a value from Python -> its options.

An extension point is a package. Each of its modules registers a class or function, under the name of the
module or under a given name, so that a new source, detector or format is one new file and no other edit.
Other distributions add theirs by an entry point: group ``ogacli.detectors`` (the name of the package),
entry ``name = module``.
"""

import pkgutil
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from ogacli.base.options import Key, Options, Where, dotted, option_names
from ogacli.base.wording import suggestion
from ogacli.errors import ConfigError

T = TypeVar("T")
O = TypeVar("O", bound=Options)  # noqa: E741

_GIVEN: dict[object, str] = {}
"""Names that were given to ``register_as``."""


class Registry(Generic[T]):
    """The classes or functions that one package offers, by name."""

    def __init__(self, package: str, noun: str) -> None:
        self.package = package
        self.noun = noun
        self._found: dict[str, T] = {}

    def register(self, thing: T) -> T:
        """Class or function decorator: offer ``thing`` under the name of its module."""
        self._found[thing.__module__.rpartition(".")[2]] = thing
        return thing

    def register_as(self, name: str) -> Callable[[T], T]:
        """Class or function decorator: offer the class or function under this name."""

        def register(thing: T) -> T:
            self._found[name] = thing
            _GIVEN[thing] = name
            return thing

        return register

    def names(self) -> list[str]:
        """All names, sorted; imports every module of the package."""
        for module in pkgutil.iter_modules(import_module(self.package).__path__):
            import_module(f"{self.package}.{module.name}")
        for entry in metadata.entry_points(group=self.package):
            _import_entry(entry)
        return sorted(self._found)

    def __contains__(self, name: object) -> bool:
        """Whether something has that name; imports the module of that name first."""
        if isinstance(name, str) and name not in self._found:
            self._import(name)
        return name in self._found or name in self.names()

    def get(self, name: str) -> T:
        """The class or function of that name.

        Raises:
            ConfigError: There is none; the message names the nearest name.
        """
        if not isinstance(name, str):  # from Python
            raise ConfigError(
                f"not the name of a {self.noun}",
                found=repr(name),
                expected=f"one of {', '.join(self.names())}",
            )
        if name not in self._found:
            self._import(name)
        if name not in self._found:
            known = self.names()
            if name not in known:
                raise ConfigError(
                    f"unknown {self.noun} {name!r}{suggestion(name, known)}",
                    expected=f"one of {', '.join(known)}",
                )
        return self._found[name]

    def _import(self, name: str) -> None:
        """Import the module of that name alone, if there is one; it usually has what is wanted."""
        modules = pkgutil.iter_modules(import_module(self.package).__path__)
        if any(module.name == name for module in modules):
            import_module(f"{self.package}.{name}")


def resolve(
    registry: Registry[type[O]], value: Any, *, by: str, place: str | Where, base: Path | None = None
) -> O:
    """The options that a value describes.

    Args:
        registry: Of the option classes.
        value: The name of a class; a mapping whose key ``by`` names the class and whose other keys are its
            options; or options, which are returned as they are.
        by: The key that names the class, such as ``source`` or ``name``.
        place: The place of the value in messages, such as ``detector``; or a function from a key in it to its
            place.
        base: The folder that relative paths are relative to; the current folder by default.

    Raises:
        ConfigError: No class has that name, or its options are wrong; each problem is listed.
    """
    if isinstance(value, Options):
        return value  # type: ignore[return-value]
    where = _where(place)
    values = {by: value} if isinstance(value, str) else value
    if not isinstance(values, dict):
        Options.checked(values, where)  # raises
    if by not in values:
        raise ConfigError("missing", place=where((by,)), expected=f"one of {', '.join(registry.names())}")
    try:
        cls = registry.get(str(values[by]))
    except ConfigError as error:
        raise error.at(where((by,))) from None

    def owner(name: str) -> str | None:
        known = [one for one in registry.names() if name in option_names(registry.get(one))]
        return f"`{by}: {known[0]}`" if len(known) == 1 else None

    return cls.checked({name: option for name, option in values.items() if name != by}, where, base, owner)


def resolve_all(
    registry: Registry[type[O]], value: Any, *, by: str, place: str | Where, base: Path | None = None
) -> tuple[O, ...]:
    """The options that a value, or each value of a list, describes; arguments as in ``resolve``.

    Raises:
        ConfigError: The list is empty, or as in ``resolve``; the problems of all values are listed.
    """
    where = _where(place)
    if not isinstance(value, list | tuple):
        return (resolve(registry, value, by=by, place=where, base=base),)
    if not value:
        raise ConfigError("empty", place=where(()), expected=f"at least one {registry.noun}")
    found: list[O] = []
    problems: list[ConfigError] = []
    for i, item in enumerate(value):

        def inside(key: Key, i: int = i) -> str:
            return where((i, *key))

        try:
            found.append(resolve(registry, item, by=by, place=inside, base=base))
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise ConfigError.of(problems)
    return tuple(found)


def _where(place: str | Where) -> Where:
    """From a key in the value to its place in messages."""
    return place if callable(place) else lambda key: dotted((place, *key))


def _import_entry(entry: metadata.EntryPoint) -> None:
    try:
        import_module(entry.value)
    except Exception as error:  # other people's code may raise anything
        name = entry.dist.name if entry.dist else entry.value
        raise ConfigError(
            "the plug-in cannot be imported",
            place=entry.value,
            found=f"{type(error).__name__}: {error}",
            hint=f"mend or uninstall the distribution {name}",
        ) from error


def type_name(thing: object) -> str:
    """The name under which the class of ``thing`` is registered."""
    return _GIVEN.get(type(thing)) or type(thing).__module__.rpartition(".")[2]


def described(options: Options, by: str) -> dict[str, Any]:
    """Options as a section of YAML: their name under the key ``by``, and the options that are set."""
    return {by: type_name(options)} | options.plain()
