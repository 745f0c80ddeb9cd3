"""Rows of a csv file -> a csv file of the same dialect; a row that is not changed keeps its bytes.

The file is read once, line by line, or twice where labels are replaced: how the source writes the new ones is
looked up in its first rows. Delimiter, quotes, encoding, byte order mark, line ends and decimal commas stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO

from ogacli.base.progress import Progress
from ogacli.base.tables import NAMELESS, opened
from ogacli.base.tables.csv_text import QUOTE, cell, cells, parted, records, value
from ogacli.base.tables.dialect import Dialect
from ogacli.base.tables.text_file import Encoded
from ogacli.data.originals._table_file import TableFile
from ogacli.errors import DataError
from ogacli.run.trim._labels import NewLabels, label_columns
from ogacli.run.trim.chosen import WEIGHT, Chosen, check_rows, free_name
from ogacli.run.trim.numbers import LOOKED_AT, decimal_places

_STEP = 10_000


class CsvRows:
    """A csv file, of which some rows are written."""

    def __init__(self, original: TableFile, chosen: Chosen, delimiter: str | None = None) -> None:
        """Find out the dialect, and how new labels are written.

        Args:
            original: The file.
            chosen: The rows.
            delimiter: The sign between the columns of the new file; by default that of the file.
        """
        self.original, self.chosen = original, chosen
        self.dialect: Dialect = original.dialect()
        self.encoded: Encoded = original.encoded(self.dialect)
        self.old = self.dialect.delimiter or ","
        self.new = delimiter or self.old
        with self._records() as stream:
            self.before_header, self.header = _header(stream, original.path, self.old)
        self.names = [
            value(one) if value(one).strip() else f"{NAMELESS}{i}"
            for i, one in enumerate(cells(self.header, self.old), 1)
        ]
        self.places = [self._place(name) for name in label_columns(original, chosen)]
        self.labels = NewLabels(
            original, chosen, self._known(), self._decimal_places(), self.dialect.decimal or "."
        )

    @contextmanager
    def _records(self) -> Iterator[Iterator[str]]:
        path = self.original.path
        with opened(path) as file, self.encoded.reading(file) as lines:
            try:
                yield records(lines, self.old)
            except IndexError:
                raise DataError("a row has fewer cells than the header", place=path) from None
            except UnicodeDecodeError as error:
                raise DataError("not a text in its encoding", place=path, found=str(error)) from None

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise DataError(f"no column {name!r}", place=self.original.path, found=", ".join(self.names))
        return self.names.index(name)

    @contextmanager
    def _rows(self) -> Iterator[Iterator[str]]:
        """The records after the header; empty lines, which are no rows, among them."""
        with self._records() as stream:
            _header(stream, self.original.path, self.old)
            yield stream

    def _known(self) -> dict[str, str]:
        """The cell of each class in the examples."""
        at = {position: name for name, position in self.chosen.examples.items()}
        if not at or len(self.places) != 1:
            return {}
        found: dict[str, str] = {}
        with self._rows() as stream:
            position = -1
            for record in stream:
                position += not _is_empty(record)
                if position in at and not _is_empty(record):
                    found[at.pop(position)] = value(cells(record, self.old)[self.places[0]])
                    if not at:
                        break
        return found

    def _decimal_places(self) -> list[int | None]:
        """Those of each label column of numbers, in the first rows."""
        if self.chosen.classes or not self.places:
            return []
        with self._rows() as stream:
            first = islice((cells(one, self.old) for one in stream if not _is_empty(one)), LOOKED_AT)
            texts = [[value(row[place]) for place in self.places] for row in first]
        return [decimal_places(column) for column in zip(*texts, strict=True)]

    @property
    def added(self) -> list[str]:
        """The names of the columns that are added."""
        names = list(self.names)
        for name in self.labels.names:
            names.append(self.chosen.column(name, names))
        if self.chosen.weights is not None:
            names.append(free_name(WEIGHT, names))
        return names[len(self.names) :]

    def write(self, file: IO[bytes], progress: Progress) -> None:
        """Write the rows that stay.

        Raises:
            DataError: The file has another number of rows than when it was scanned.
        """
        chosen, added = self.chosen, self.added
        plain = not added and self.old == self.new
        header = cells(self.header, self.old)
        quoted = any(one.startswith(QUOTE) for one in header)
        first = [self._recast(one) for one in header] + [cell(one, self.new, quoted=quoted) for one in added]
        edit = self._edit()
        staying = iter(chosen.positions.tolist())
        index, wanted, position = 0, next(staying, -1), -1
        with (
            self._rows() as stream,
            self.encoded.writing(file) as out,
            progress.bar("writing rows", len(chosen.positions)) as advance,
        ):
            out.write(self.before_header.replace(f"={self.old}", f"={self.new}"))
            out.write(self.header if plain else self.new.join(first) + parted(self.header)[1])
            for record in stream:
                if _is_empty(record):
                    out.write(record)
                    continue
                position += 1
                if position == wanted:
                    out.write(record if plain else edit(record, position, index))
                    index, wanted = index + 1, next(staying, -1)
                    if not index % _STEP:
                        advance(_STEP)
        check_rows(self.original.path, position + 1, chosen)

    def _edit(self) -> Callable[[str, int, int], str]:
        """From a record, its position and its index among those that are written to the new record."""
        chosen, weighted = self.chosen, self.chosen.weights is not None
        mark = self.dialect.decimal or "."

        def edited(record: str, position: int, index: int) -> str:
            body, end = parted(record)
            label = chosen.labels.get(position) if self.places else None
            if label is None and self.old == self.new:
                new = [body, *[""] * len(self.places)]
            else:
                old = cells(record, self.old)
                new = [self._recast(one) for one in old]
                kept = [""] * len(self.places)
                if label is not None:
                    values = self.labels.of(label, [value(old[place]) for place in self.places])
                    for i, (place, one) in enumerate(zip(self.places, values, strict=True)):
                        kept[i] = new[place]
                        new[place] = cell(str(one), self.new, quoted=old[place].startswith(QUOTE))
                new += kept
            if weighted:
                weight = chosen.weight_of(index)
                new.append("" if weight is None else cell(f"{weight:.6g}".replace(".", mark), self.new))
            return self.new.join(new) + end

        return edited

    def _recast(self, one: str) -> str:
        """A cell for the new delimiter."""
        if self.old == self.new or one.startswith(QUOTE):
            return one
        return cell(one, self.new)


def _is_empty(record: str) -> bool:
    return record[0] in "\r\n"


def _header(stream: Iterator[str], place: str, delimiter: str) -> tuple[str, str]:
    """What comes before the header, such as ``sep=;``; and the header.

    Raises:
        DataError: There is none.
    """
    before: list[str] = []
    for record in stream:
        if _is_empty(record) or (not before and _names_delimiter(record, delimiter)):
            before.append(record)
        else:
            return "".join(before), record
    raise DataError("the table has no rows", place=place)


def _names_delimiter(record: str, delimiter: str) -> bool:
    return parted(record)[0].lower() == f"sep={delimiter}"
