"""A csv, jsonl or parquet file with a row a sample: its label, and the name of an image or features."""

import re
import string
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from ogacli.base.options import Location
from ogacli.base.tables import ReadTable
from ogacli.base.tables.columns import Columns
from ogacli.base.tables.features import Choice, Features, features_of
from ogacli.base.wording import listed
from ogacli.data.arrays import ArrayReader, digest
from ogacli.data.categories import Categories, Encoding, encoded
from ogacli.data.files import open_files
from ogacli.data.images import ImageReader, Transform
from ogacli.data.samples import Samples
from ogacli.data.sources import sources
from ogacli.data.sources._columns import Label, Labelled, TableFile, column_of
from ogacli.errors import DataError

_WIDEST = 255
"""Letters of a name of a file."""


@sources.register
class Table(TableFile, Labelled):
    """One row a sample."""

    label: Label | None = None
    """The label's column: class names, or class indices from 0. A list of columns: 0 or 1 for each class, or
    the targets of a regression. A column of lists: several classes a sample. May be left out where there are
    ``annotators``."""
    id: str | None = None
    """A column of unique values; by default the names of the image files, or row numbers from 0."""
    image: str | None = None
    """The column of the image file's name, or a pattern over columns such as ``"{index:05d}.jpg"``."""
    root: Location | None = None
    """The folder, zip archive or fsspec URL that ``image`` is relative to; by default the table's folder."""
    transform: Transform = Transform()
    """Of images: ``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training."""
    features: tuple[str, ...] | None = None
    """Columns of numbers, or of lists of numbers; by default, where there is no ``image``, all but label,
    truth, id and categories. Columns that count rows or have no name are not among the default."""
    leave_out: tuple[str, ...] = ()
    """Columns that are not features, where ``features`` is not given."""
    dates: tuple[str, ...] | Mapping[str, str] = ()
    """Columns of dates that become features, as days since 1970; ``{column: "%d.%m.%Y"}`` gives a format."""
    categorical: Categories = ()
    """Columns of categories, which come after the numeric ones: a list of columns, whose categories are the
    sorted values that occur, or ``{column: [category, ..]}`` as in training. A sample with another value, or
    with none, is quarantined."""
    category_encoding: Encoding = "one_hot"
    """Of the categories: ``one_hot``, a 0 or 1 for each, or ``codes``, their numbers from 0. (Earlier
    versions called it ``encoding``, which still takes these two values.)"""

    @model_validator(mode="before")
    @classmethod
    def _former_key(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("encoding") in ("one_hot", "codes"):
            rest = {name: value for name, value in values.items() if name != "encoding"}
            return {"category_encoding": values["encoding"]} | rest
        return values

    @model_validator(mode="after")
    def _fits(self) -> "Table":
        if self.label is None and self.annotators is None:
            raise ValueError("`label` is missing: the column of the labels")
        for name in ("features", "categorical", "leave_out", "dates"):
            if self.image is not None and getattr(self, name):
                raise ValueError(f"`image` and `{name}` exclude each other")
        if self.features is not None and self.leave_out:
            raise ValueError("`features` and `leave_out` exclude each other")
        if self.features == () and not self.categorical:
            raise ValueError("`features` is empty, and there are no `categorical` columns")
        if self.image is None and self.root is not None:
            raise ValueError("`root` needs `image`: a column or a pattern such as '{index:05d}.jpg'")
        return self

    def load(self) -> Samples:
        """All rows."""
        found = self.read(text=self._text_columns, labels=self.name_columns)
        if self.image is not None:
            return self._images(found, self.image)
        ids = self.ids(found.table, self.path)
        features = self._features(found, ids)
        reader = ArrayReader(features.values, columns=features.names)
        return self.samples(
            found.table,
            self.path,
            reader,
            digest(features.values),
            ids=ids,
            columns=features.columns,
        )

    @property
    def _text_columns(self) -> frozenset[str]:
        """Columns that are read as text, to keep leading zeros: ids, and names of files."""
        formatted = _fields(self.image or "")
        names = {self.image or ""} if not formatted else {n for n, spec in formatted if not spec}
        numbers = {name for name, spec in formatted if spec} | {*self.label_columns, *self.truth_columns}
        return frozenset({self.id or "", *names, *self.categorical} - numbers - {""})

    # --- features ---------------------------------------------------------------------------------------

    def _features(self, found: ReadTable, ids: pa.StringArray) -> Features:
        """The numeric columns and the categories."""
        voices = () if isinstance(self.annotators, str) else self.annotators or ()
        taken = {*self.label_columns, *self.truth_columns, *voices, self.id or "", *self.categorical}
        choice = Choice(
            taken, self.features, self.leave_out, self.dates, self.decimal or found.dialect.decimal
        )
        numeric = features_of(found.table, self.path, choice, ids)
        parts, names = [numeric.values], list(numeric.names)
        for name in self.categorical:
            column = column_of(found.table, name, self.path)
            values, called = encoded(name, column, self.categorical, self.category_encoding)
            parts.append(values)
            names += called
        if not names:
            raise self._no_features(found.table, numeric.columns)
        used = (*numeric.columns.features, *self.categorical)
        notes = (*found.notes, *numeric.columns.notes)
        columns = replace(numeric.columns, features=used, inputs=len(names), notes=notes)
        return Features(np.concatenate(parts, 1), tuple(names), columns)

    def _no_features(self, table: pa.Table, columns: Columns) -> DataError:
        why = [f"{one.name} ({one.why})" for one in columns.left_out]
        return DataError(
            "no numeric column for the features",
            place=self.path,
            found=listed(why) or ", ".join(table.column_names),
            hint="name the column of image files as `image`, or columns as `features` or `categorical`",
        )

    # --- images -----------------------------------------------------------------------------------------

    def _images(self, found: ReadTable, image: str) -> Samples:
        """The samples of a table of image files; their ids are the names of the files."""
        table, rows = found.table, self.ids(found.table, self.path)
        names = self._file_names(table, image, rows)
        notes = found.notes
        if self.id is None:
            rows, again = _unique(names)
            notes += again
        files = open_files(self.root or self.path.rpartition("/")[0] or ".", self.bounds)
        reader = ImageReader(files, names, self.transform, limits=self.bounds)
        columns = Columns(notes=notes) if notes else None
        return self.samples(table, self.path, reader, files.signature(names), ids=rows, columns=columns)

    def _file_names(self, table: pa.Table, image: str, ids: pa.StringArray) -> pa.StringArray:
        fields = _fields(image)
        if not fields:
            names = column_of(table, image, self.path).cast(pa.string())
        else:
            columns = {name: column_of(table, name, self.path).to_pylist() for name, _ in fields}
            rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
            names = pa.array([_formatted(image, row, ids, i) for i, row in enumerate(rows)], pa.string())
        return pc.fill_null(names, "")


def _unique(names: pa.StringArray) -> tuple[pa.StringArray, tuple[str, ...]]:
    """Names of files as ids, and a note: a missing or repeated one gets the number of its row, from 0."""
    seen: set[str] = set()
    ids, repeated = [], 0
    for row, name in enumerate(names.to_pylist()):
        if name in seen or not name:
            repeated += bool(name)
            name = f"{name} (row {row})" if name else f"row {row}"
        seen.add(name)
        ids.append(name)
    one = repeated == 1
    note = f"{repeated:,} {'row names' if one else 'rows name'} a file again; "
    note += f"{'its id has' if one else 'their ids have'} the number of the row"
    return pa.array(ids, pa.string()), (note,) if repeated else ()


def _fields(pattern: str) -> list[tuple[str, str]]:
    """The columns that a pattern names, each with its format.

    Raises:
        DataError: A format is wider than a name of a file can be, or looks into a value.
    """
    try:
        found = [(name, spec or "") for _, name, spec, _ in string.Formatter().parse(pattern) if name]
    except ValueError:
        return []
    for name, spec in found:
        widths = [int(digits[:4]) for digits in re.findall("[0-9]+", spec)]
        if re.search(r"[.\[]", name) or "{" in spec or max(widths, default=0) > _WIDEST:
            raise DataError(
                "not a pattern of file names",
                place=f"image {pattern!r}",
                found=f"{{{name}:{spec}}}",
                expected=f"columns, with formats of at most {_WIDEST} letters, such as {{index:05d}}.jpg",
            )
    return found


def _formatted(pattern: str, row: dict[str, Any], ids: pa.StringArray, i: int) -> str:
    try:
        return pattern.format_map(row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            "the pattern does not fit",
            place=f"sample {ids[i].as_py()!r}: image {pattern!r}",
            found=row,
            expected=str(error),
        ) from None
