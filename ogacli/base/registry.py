"""The name in YAML -> the class.

An extension point is a package; each module in it registers at most one thing, under the module's own
name. A new source, detector or format is therefore one new file and no other edit. Other distributions
join in by an entry point: group ``ogacli.detectors`` (the package's name), entry ``name = module``.
"""

import pkgutil
from difflib import get_close_matches
from importlib import import_module, metadata
from typing import Generic, TypeVar

from ogacli.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """The things that one package offers, each found by the name of its module."""

    def __init__(self, package: str, noun: str) -> None:
        self.package = package
        self.noun = noun
        self._found: dict[str, T] = {}

    def register(self, thing: T) -> T:
        """Class or function decorator: offer ``thing`` under the name of the module it stands in."""
        self._found[thing.__module__.rpartition(".")[2]] = thing
        return thing

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
    return type(thing).__module__.rpartition(".")[2]
