"""The new values of a row's label columns.

In: the old values and the new label of the run. Out: the new values, in the notation of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogacli.data.originals._labelled import Labelled
from ogacli.data.originals.text import Text
from ogacli.errors import RunError
from ogacli.run.label_kind import parts_of
from ogacli.run.trim.chosen import Chosen
from ogacli.run.trim.notation import Notation, zero_one
from ogacli.run.trim.numbers import new_numbers


def label_columns(original: Labelled, chosen: Chosen) -> tuple[str, ...]:
    """The label columns whose values are replaced or kept beside; none where all labels stay.

    Raises:
        RunError: Labels are to be replaced, and the source has no column of them.
    """
    if not chosen.before:
        return ()
    if chosen.labels and not original.label_columns:
        raise RunError(
            "labels can be replaced only where a column holds them",
            place="data.label",
            found="no `label`, as for labels by several annotators, and for prompts",
            hint="drop these samples; or write `--manifest FILE` alone, which has the new labels",
        )
    return original.label_columns


class NewLabels:
    """The values of the label columns for each new label."""

    def __init__(
        self,
        original: Labelled,
        chosen: Chosen,
        known: Mapping[str, Any],
        places: Sequence[int | None] = (),
        mark: str = ".",
    ) -> None:
        """Keep how the source writes labels.

        Args:
            original: Names the label columns.
            chosen: The rows.
            known: Values of some classes.
            places: Decimal places of each label column that holds numbers.
            mark: The decimal mark of numbers in texts.
        """
        self.names = label_columns(original, chosen)
        self.chosen = chosen
        self._places, self._mark = places, mark
        self._tags = isinstance(original, Text) and original.tags is not None
        several = len(self.names) > 1 or not isinstance(original.label, str)
        self.notation = None if several else Notation(chosen.classes, known, original.separator)

    def of(self, label: str, old: Sequence[Any]) -> list[Any]:
        """The new values of the label columns.

        Args:
            label: The class or number, or several with ``|`` between.
            old: The values in their place.
        """
        if not self.chosen.classes:
            return new_numbers(parts_of(label), old, self._places, self._mark)
        if self._tags:
            return [_new_tags(parts_of(label), old[0], self.chosen.classes)]
        if self.notation is not None:
            return [self.notation.of(label, old[0])]
        on = parts_of(label)
        return [zero_one(name in on, value) for name, value in zip(self.chosen.classes, old, strict=True)]


def _new_tags(names: Sequence[str], old: Any, classes: Sequence[str]) -> list[Any]:
    """The tags of a sample in the form of those in their place: names, or class indices.

    Raises:
        RunError: There are more or fewer than words.
    """
    if not isinstance(old, list) or len(old) != len(names):
        raise RunError(
            "another number of new tags than of words",
            found=" ".join(names),
            expected=f"{len(old)} tags" if isinstance(old, list) else "a column of lists",
        )
    if all(isinstance(one, str) for one in old):
        return list(names)
    return [type(old[0])(classes.index(one)) for one in names]
