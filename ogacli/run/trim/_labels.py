"""The new values of a row's label columns.

In: the old values and the new label of the run. Out: the new values, in the notation of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogacli.data.originals._labelled import Labelled
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
            found="none: the samples are prompts or tagged words",
            hint="leave `relabel` out of the decisions; drop these samples instead",
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
        if self.notation is not None:
            return [self.notation.of(label, old[0])]
        on = parts_of(label)
        return [zero_one(name in on, value) for name, value in zip(self.chosen.classes, old, strict=True)]
