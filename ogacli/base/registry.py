"""The name in YAML -> the class, and a section of YAML or a value from Python -> options of that class.

An extension point is a package; each module in it registers things under the module's own name or under a
name that it gives. A new source, detector or format is therefore one new file and no other edit. Other
distributions add theirs by an entry point: group ``ogacli.detectors`` (the package's name), entry
``name = module``.
"""

import pkgutil
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from ogacli.base.options import Key, Options, Where, dotted, option_names
from ogacli.errors import ConfigError

T = TypeVar("T")
O = TypeVar("O", bound=Options)  # noqa: E741

_GIVEN: dict[object, str] = {}
"""Names that are not those of the module."""


class Registry(Generic[T]):
    """The things that one package offers, by name."""

    def __init__(self, package: str, noun: str) -> None:
        self.package = package
        self.noun = noun
        self._found: dict[str, T] = {}

    def register(self, thing: T) -> T:
        """Class or function decorator: offer ``thing`` under the name of the module it stands in."""
        self._found[thing.__module__.rpartition(".")[2]] = thing
        return thing

    def register_as(self, name: str) -> Callable[[T], T]:
        """Class or function decorator: offer the thing under this name."""

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

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            ConfigError: There is none; the message names the nearest.
        """
        if name not in self._found:
            known = self.names()
            if name not in known:
                near = get_close_matches(name, known, n=1)
                raise ConfigError(
                    f"unknown {self.noun} {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                    expected=f"one of {', '.join(known)}",
                )
        return self._found[name]


def resolve(
    registry: Registry[type[O]], value: Any, *, by: str, place: str | Where, base: Path | None = None
) -> O:
    """The options that a value stands for.

    Args:
        registry: Where option classes are looked up.
        value: The name of a class; a mapping whose key ``by`` names the class and whose other keys are its
            options; or options, which are returned as they are.
        by: The key that names the class, such as ``source`` or ``name``.
        place: How messages call the value, such as ``detector``; or a function that names a key in it.
        base: The folder that relative paths start from; the current one where left out.

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
    """The options that a value, or each value of a list, stands for; arguments are those of ``resolve``.

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
    """How a key inside a value of that name is called."""
    return place if callable(place) else lambda key: dotted((place, *key))


def _import_entry(entry: metadata.EntryPoint) -> None:
    try:
        import_module(entry.value)
    except Exception as error:  # the code is not ours: anything may be wrong with it
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
    """Options as a section of YAML: their name under the key ``by``, and what is set."""
    return {by: type_name(options)} | options.plain()
