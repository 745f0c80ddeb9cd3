"""Rows with typed columns: those that stay, with new labels and weights.

In: the record batches of a parquet file, of a table in another format, or of a dataset of the library
``datasets``. Out: record batches of one schema, whose columns have the order and types of the source.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ogacli.data.originals._labelled import Labelled
from ogacli.errors import DataError
from ogacli.run.trim._labels import NewLabels, label_columns
from ogacli.run.trim.chosen import WEIGHT, Chosen, check_rows, free_name


class TypedRows:
    """The rows of batches, of which some are written."""

    def __init__(
        self,
        original: Labelled,
        chosen: Chosen,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        place: str,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what is to be written.

        Args:
            original: Names the label columns.
            chosen: The rows.
            schema: Of the source.
            batches: All its rows, in order.
            place: Its name, for messages.
            known: Values of some classes; None where labels are their names.
        """
        self.chosen, self.source, self.place = chosen, batches, place
        self.columns = label_columns(original, chosen)
        self.labels = NewLabels(original, chosen, known or {})
        self.plain = schema
        self.schema = schema
        for name in self.columns:
            kind = _field(schema, name, place).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            self.schema = self.schema.append(pa.field(chosen.column(name, self.schema.names), kind))
        if chosen.weights is not None:
            self.schema = self.schema.append(pa.field(free_name(WEIGHT, self.schema.names), pa.float64()))

    @property
    def added(self) -> list[str]:
        """The names of the columns that are added."""
        return list(self.schema.names[len(self.plain.names) :])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows that stay.

        Raises:
            DataError: There are more or fewer rows than when the source was scanned.
        """
        start = 0
        for batch in self.source:
            low, high = np.searchsorted(self.chosen.positions, [start, start + len(batch)]).tolist()
            rows = self.chosen.positions[low:high] - start
            part = batch if len(rows) == len(batch) else batch.take(pa.array(rows))
            yield self._edited(part, range(low, high))
            start += len(batch)
        check_rows(self.place, start, self.chosen)

    def _edited(self, part: pa.RecordBatch, indices: range) -> pa.RecordBatch:
        columns = dict(zip(self.plain.names, part.columns, strict=True))
        if not self.added:
            return part
        new = [self.chosen.labels.get(self.chosen.positions[index]) for index in indices]
        rows = [row for row, label in enumerate(new) if label is not None]
        old = [_taken(columns, name, rows) for name in self.columns]
        values = [self.labels.of(str(new[row]), before) for row, *before in zip(rows, *old, strict=True)]
        for name, after in zip(self.columns, zip(*values, strict=True), strict=True) if values else ():
            _replace(columns, name, rows, after)
        for field, before in itertools.zip_longest(list(self.schema)[len(self.plain) :], old):
            columns[field.name] = self._added(field, before, rows, indices)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self.schema)

    def _added(self, field: pa.Field, before: Any, rows: Sequence[int], indices: range) -> pa.Array:
        if before is None:
            weights = self.chosen.weights
            assert weights is not None
            found = weights[indices.start : indices.stop]
            return pa.array(found, mask=np.isnan(found))
        spread: list[Any] = [None] * len(indices)
        for row, value in zip(rows, before, strict=True):
            spread[row] = value
        return pa.array(spread, field.type)


def check_columns(schema: pa.Schema, labels: Iterable[str], place: str) -> None:
    """Check that there are label columns, which may be nested, and that no two columns have one name.

    Raises:
        DataError: It is otherwise.
    """
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError("two columns have one name", place=place, found=repr(twice))
    for name in labels:
        _field(schema, name, place)


def known_values(batches: Iterable[pa.RecordBatch], column: str, chosen: Chosen) -> dict[str, Any]:
    """The value of each class in the examples; the batches are read as far as these lie."""
    at = {position: name for name, position in chosen.examples.items()}
    found: dict[str, Any] = {}
    start = 0
    for batch in batches if at else ():
        here = [position for position in at if start <= position < start + len(batch)]
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for position, value in zip(here, _taken(columns, column, [one - start for one in here]), strict=True):
            found[at.pop(position)] = value
        start += len(batch)
        if not at:
            break
    return found


def _parts(names: Iterable[str], column: str) -> tuple[str, str] | None:
    """The top column of a nested one, and the name within it."""
    return next(((name, column[len(name) + 1 :]) for name in names if column.startswith(f"{name}.")), None)


def _field(schema: pa.Schema, name: str, place: str) -> pa.Field:
    if name in schema.names:
        return schema.field(name)
    parts = _parts(schema.names, name)
    if parts is None or not pa.types.is_struct(schema.field(parts[0]).type):
        raise DataError(f"no column {name!r}", place=place, found=", ".join(schema.names))
    return _field(pa.schema(list(schema.field(parts[0]).type)), parts[1], place)


def _taken(columns: Mapping[str, pa.Array], name: str, rows: Sequence[int]) -> list[Any]:
    """The values of a column, which may be nested, in some rows."""
    if name in columns:
        found: list[Any] = columns[name].take(pa.array(rows, pa.int64())).to_pylist()
        return found
    parts = _parts(columns, name)
    assert parts is not None
    return _taken(_inner(columns[parts[0]]), parts[1], rows)


def _inner(column: pa.StructArray) -> dict[str, pa.Array]:
    return {field.name: column.field(i) for i, field in enumerate(column.type)}


def _replace(columns: dict[str, pa.Array], name: str, rows: Sequence[int], new: Sequence[Any]) -> None:
    """Put other values into some rows of a column, in place."""
    if name not in columns:
        parts = _parts(columns, name)
        assert parts is not None
        outer = columns[parts[0]]
        inner = _inner(outer)
        _replace(inner, parts[1], rows, new)
        mask = outer.is_null() if outer.null_count else None
        columns[parts[0]] = pa.StructArray.from_arrays(
            list(inner.values()), fields=list(outer.type), mask=mask
        )
        return
    column = columns[name]
    if pa.types.is_dictionary(column.type):
        columns[name] = _recoded(column, rows, new)
        return
    values = column.to_pylist()
    for row, value in zip(rows, new, strict=True):
        values[row] = value
    columns[name] = pa.array(values, column.type)


def _recoded(column: pa.DictionaryArray, rows: Sequence[int], new: Sequence[Any]) -> pa.DictionaryArray:
    """A column of categories with other ones in some rows; new categories come last."""
    words = column.dictionary.to_pylist()
    words += [value for value in dict.fromkeys(new) if value not in words]
    code = {word: i for i, word in enumerate(words)}
    codes = column.indices.to_pylist()
    for row, value in zip(rows, new, strict=True):
        codes[row] = code[value]
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, column.type.index_type),
        pa.array(words, column.type.value_type),
        ordered=column.type.ordered,
    )
