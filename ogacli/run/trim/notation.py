"""How the source writes its labels: a class name of the run -> the value in the label column.

In: for some classes a value that the source has for them; the values of csv cells are texts. Out: the value
of any class: a name, a number, the index of the class, or several of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ogacli.base.documents.json_document import parse_json
from ogacli.errors import DataError
from ogacli.run.label_kind import parts_of


@dataclass(frozen=True, slots=True)
class Notation:
    """The values of classes in one label column."""

    classes: Sequence[str]
    """All class names, in the order of the model's outputs."""
    known: Mapping[str, Any]
    """Values that the source has for some classes."""
    separator: str | None = None
    """Between the classes of a sample, where a text holds several."""

    def of(self, name: str, old: Any) -> Any:
        """The value of a new label.

        Args:
            name: The class; of samples of several classes their names with ``|`` between.
            old: The value in its place, whose form is kept.
        """
        if isinstance(old, list | tuple):
            return self._listed(parts_of(name), list(old))
        if self.separator is not None:
            return self.separator.join(str(self._one(one)) for one in parts_of(name))
        if isinstance(old, str) and old.startswith("[") and old.endswith("]") and name not in self.known:
            try:
                before = list(parse_json(old, name, DataError))
                return json.dumps(self._listed(parts_of(name), before))
            except DataError:
                pass
        return self._one(name, old)

    def _listed(self, names: Sequence[str], old: list[Any]) -> list[Any]:
        """A list of classes, or of a 0 or 1 for each class."""
        if len(old) == len(self.classes) and all(one in (0, 1) for one in old):
            return [zero_one(one in names, old[0]) for one in self.classes]
        if all(isinstance(one, str) for one in old):
            return list(names)
        if all(str(one) in self.classes for one in old):
            return [type(old[0])(one) for one in names]
        return [self.classes.index(one) for one in names]

    def _one(self, name: str, old: Any = None) -> Any:
        if name in self.known:
            return self.known[name]
        for other, value in self.known.items():
            return self._like(name, other, value)
        return name if old is None or isinstance(old, str) else self._number(name, old)

    def _like(self, name: str, other: str, value: Any) -> Any:
        """A value for ``name`` in the form that another class has."""
        if isinstance(value, bool):
            return name.lower() in ("true", "1")
        if isinstance(value, int | float):
            return self._number(name, value) if _written(value) == other else self._index(name, value)
        text = str(value)
        if text.strip() == other:
            return name
        if text == str(self.classes.index(other)):
            return str(self.classes.index(name))
        if text == f"{other}.0":
            return f"{name}.0"
        if text.lower() == other:
            return name.upper() if text.isupper() else name.capitalize()
        return name

    def _index(self, name: str, like: float) -> Any:
        return type(like)(self.classes.index(name))

    def _number(self, name: str, like: Any) -> Any:
        return type(like)(name) if name.lstrip("-").isdecimal() else self._index(name, like)


def _written(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def zero_one(on: bool, old: Any) -> Any:
    """0 or 1 in the form of the value in its place: a number, a truth value, or a text."""
    if not isinstance(old, str):
        return type(old)(on)
    text = old.strip()
    if text.lower() in ("true", "false"):
        new = "true" if on else "false"
        return new.upper() if text.isupper() else new.capitalize() if text[:1].isupper() else new
    return str(int(on)) + text[1:]
