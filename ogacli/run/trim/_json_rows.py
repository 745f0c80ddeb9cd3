"""Lines of a jsonl file -> a jsonl file; a line that is not changed keeps its bytes.

Of a changed line, the value of the label alone is replaced; new keys are added at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from ogacli.base.documents.json_document import parse_json
from ogacli.base.progress import Progress
from ogacli.base.tables.json_text import text, value_in, with_keys
from ogacli.data.originals._table_file import TableFile
from ogacli.errors import DataError
from ogacli.run.trim._labels import NewLabels, label_columns
from ogacli.run.trim.chosen import WEIGHT, Chosen, check_rows, free_name
from ogacli.run.trim.numbers import LOOKED_AT, decimal_places

_STEP = 10_000


class JsonRows:
    """A jsonl file, of which some lines are written."""

    def __init__(self, original: TableFile, chosen: Chosen) -> None:
        """Find out the encoding, and how new labels are written."""
        self.original, self.chosen = original, chosen
        self.encoded, self._open = original.encoded(original.dialect()), original.lines()
        self.columns = label_columns(original, chosen)
        self.taken = self._first_keys()
        self.labels = NewLabels(original, chosen, self._known(), self._decimal_places())

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        """The lines that are not empty."""
        with self._open() as lines:
            try:
                yield (line for line in lines if line.strip())
            except UnicodeDecodeError as error:
                raise DataError(
                    "not a text in its encoding", place=self.original.path, found=str(error)
                ) from None

    def _first_keys(self) -> list[str]:
        with self._lines() as lines:
            first = next(lines, "{}")
        return list(parse_json(first, self.original.path, DataError, finite=False))

    def _known(self) -> dict[str, Any]:
        """The value of each class in the examples."""
        at = {position: name for name, position in self.chosen.examples.items()}
        if not at or len(self.columns) != 1:
            return {}
        found: dict[str, Any] = {}
        with self._lines() as lines:
            for position, line in enumerate(lines):
                if position in at:
                    found[at.pop(position)] = self._values(line)[0]
                    if not at:
                        break
        return found

    def _decimal_places(self) -> list[int | None]:
        """Those of each label column of numbers, in the first lines."""
        if self.chosen.classes or not self.columns:
            return []
        with self._lines() as lines:
            rows = [self._values(line) for line in islice(lines, LOOKED_AT)]
        return [
            None if isinstance(column[0], list) else decimal_places(map(json.dumps, column))
            for column in zip(*rows, strict=True)
        ]

    def _values(self, line: str) -> list[Any]:
        return [value_in(line, name, self.original.path)[0] for name in self.columns]

    @property
    def added(self) -> list[str]:
        """The names of the keys that are added."""
        names = list(self.taken)
        for name in self.columns:
            names.append(self.chosen.column(name, names))
        if self.chosen.weights is not None:
            names.append(free_name(WEIGHT, names))
        return names[len(self.taken) :]

    def write(self, file: IO[bytes], progress: Progress) -> None:
        """Write the lines that stay.

        Raises:
            DataError: The file has another number of rows than when it was scanned.
        """
        plain = not self.added
        staying = iter(self.chosen.positions.tolist())
        index, wanted, position = 0, next(staying, -1), -1
        with (
            self._lines() as lines,
            self.encoded.writing(file) as out,
            progress.bar("writing rows", len(self.chosen.positions)) as advance,
        ):
            for position, line in enumerate(lines):
                if position == wanted:
                    out.write(line if plain else self._edited(line, position, index))
                    index, wanted = index + 1, next(staying, -1)
                    if not index % _STEP:
                        advance(_STEP)
        check_rows(self.original.path, position + 1, self.chosen)

    def _edited(self, line: str, position: int, index: int) -> str:
        added = dict.fromkeys(self.added)
        label = self.chosen.labels.get(position)
        if label is not None:
            old = self._values(line)
            added |= zip(self.added, old, strict=False)
            for name, new in zip(self.columns, self.labels.of(label, old), strict=True):
                _, begin, end = value_in(line, name, self.original.path)
                line = line[:begin] + text(new) + line[end:]
        if self.chosen.weights is not None:
            added[self.added[-1]] = self.chosen.weight_of(index)
        return with_keys(line, added, self.original.path)
