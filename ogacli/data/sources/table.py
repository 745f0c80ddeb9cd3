"""A csv, jsonl or parquet file with a row a sample: its label, and the name of an image or features."""

import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32
from pydantic import model_validator

from ogacli.base.options import Location
from ogacli.base.tables import read_table
from ogacli.data.arrays import ArrayReader, digest
from ogacli.data.files import open_files
from ogacli.data.images import ImageReader, Transform
from ogacli.data.labels import is_number
from ogacli.data.reading import Reader
from ogacli.data.samples import Samples
from ogacli.data.sources import sources
from ogacli.data.sources._columns import Label, Labelled, column_of
from ogacli.errors import DataError

Encoding = Literal["one_hot", "codes"]
"""``one_hot``: a 0 or 1 for each category; ``codes``: the category's number, from 0."""
Categories = tuple[str, ...] | Mapping[str, tuple[str, ...]]
"""The columns, or the categories of each column in order."""

_MOST = 1000
"""Most categories of one column; a column with more is an id or a text."""


@sources.register
class Table(Labelled):
    """One row a sample."""

    path: Location
    """The csv, tsv, jsonl or parquet file; a path or fsspec URL."""
    label: Label
    """The label's column: class names, or class indices from 0. A list of columns: 0 or 1 for each class, or
    the targets of a regression. A column of lists: several classes a sample."""
    image: str | None = None
    """The column of the image file's name, or a pattern over columns such as ``"{index:05d}.jpg"``."""
    root: Location | None = None
    """The folder, zip archive or fsspec URL that ``image`` is relative to; by default the table's folder."""
    transform: Transform = Transform()
    """Of images: ``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training."""
    features: tuple[str, ...] | None = None
    """Numeric columns; by default, where there is no ``image``, all but label, truth, id and categories."""
    categorical: Categories = ()
    """Columns of categories, which come after the numeric ones: a list of columns, whose categories are the
    sorted values that occur, or ``{column: [category, ..]}`` as in training. A sample with another value, or
    with none, is quarantined."""
    encoding: Encoding = "one_hot"
    """Of the categories: ``one_hot``, a 0 or 1 for each, or ``codes``, their numbers from 0."""

    @model_validator(mode="after")
    def _fits(self) -> "Table":
        for name in ("features", "categorical"):
            if self.image is not None and getattr(self, name):
                raise ValueError(f"`image` and `{name}` exclude each other")
        if self.features == () and not self.categorical:
            raise ValueError("`features` is empty, and there are no `categorical` columns")
        if self.image is None and self.root is not None:
            raise ValueError("`root` needs `image`: a column or a pattern such as '{index:05d}.jpg'")
        return self

    def load(self) -> Samples:
        """All rows."""
        table = read_table(self.path, text=self._text_columns)
        if not len(table):
            raise DataError("the table has no rows", place=self.path)
        reader, signature = self._reader(table)
        return self.samples(table, self.path, reader, signature)

    @property
    def _text_columns(self) -> frozenset[str]:
        """Columns that are read as text, to keep leading zeros: ids, and names of files."""
        formatted = _fields(self.image or "")
        names = {self.image or ""} if not formatted else {n for n, spec in formatted if not spec}
        numbers = {name for name, spec in formatted if spec} | {*self.label_columns, self.truth or ""}
        return frozenset({self.id or "", *names, *self.categorical} - numbers)

    def _reader(self, table: pa.Table) -> tuple[Reader, str]:
        """The reader of the inputs, and their signature."""
        if self.image is None:
            inputs, names = self._features(table)
            return ArrayReader(inputs, columns=names), digest(inputs)
        files = open_files(self.root or self.path.rpartition("/")[0] or ".")
        found = self._file_names(table, self.image, self.ids(table, self.path))
        return ImageReader(files, found, self.transform), files.signature(found)

    def _features(self, table: pa.Table) -> tuple[Float32[np.ndarray, "n f"], list[str]]:
        """The numeric columns and the categories, and the name of each column of the matrix."""
        names = list(self._numeric(table) if self.features is None else self.features)
        parts = [_feature(table, name, self.path)[:, None] for name in names]
        for name in self.categorical:
            column = column_of(table, name, self.path)
            found, called = _encode(name, column, self.categorical, self.encoding)
            parts.append(found)
            names += called
        return np.concatenate(parts, 1), names

    def _numeric(self, table: pa.Table) -> tuple[str, ...]:
        taken = {*self.label_columns, self.truth, self.id, *self.categorical}
        found = [field.name for field in table.schema if _is_numeric(field.type) and field.name not in taken]
        if not found and not self.categorical:
            raise DataError(
                "no numeric column for the features",
                place=self.path,
                found=", ".join(table.column_names),
                hint="name the column of image files as `image`, or columns as `features` or `categorical`",
            )
        return tuple(found)

    def _file_names(self, table: pa.Table, image: str, ids: pa.StringArray) -> pa.StringArray:
        fields = _fields(image)
        if not fields:
            names = column_of(table, image, self.path).cast(pa.string())
        else:
            columns = {name: column_of(table, name, self.path).to_pylist() for name, _ in fields}
            rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
            names = pa.array([_formatted(image, row, ids, i) for i, row in enumerate(rows)], pa.string())
        return pc.fill_null(names, "")


def _fields(pattern: str) -> list[tuple[str, str]]:
    """The columns that a pattern names, each with its format."""
    try:
        return [(name, spec or "") for _, name, spec, _ in string.Formatter().parse(pattern) if name]
    except ValueError:
        return []


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


def _feature(table: pa.Table, name: str, place: str) -> Float32[np.ndarray, " n"]:
    column = column_of(table, name, place)
    if not _is_numeric(column.type):
        raise DataError(
            f"column {name!r} is not numeric",
            place=place,
            found=column.type,
            hint="name it under `categorical`, or leave it out of `features`",
        )
    return np.asarray(pc.cast(column, pa.float32(), safe=False).to_numpy(zero_copy_only=False))


def _is_numeric(kind: pa.DataType) -> bool:
    return is_number(kind) or bool(pa.types.is_boolean(kind))


def _encode(
    name: str, column: pa.Array, categories: Categories, encoding: Encoding
) -> tuple[Float32[np.ndarray, "n f"], list[str]]:
    """One column of categories as numeric columns, and their names; NaN where a value is no category.

    Raises:
        DataError: The column has too many different values to be one of categories.
    """
    texts = column.cast(pa.string())
    known = categories[name] if isinstance(categories, Mapping) else _categories(name, texts)
    codes = pc.index_in(texts, value_set=pa.array(known, pa.string()), skip_nulls=True)
    numbers = codes.cast(pa.float32()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    if encoding == "codes":
        return np.asarray(numbers)[:, None], [name]
    ones = (numbers[:, None] == np.arange(len(known))).astype(np.float32)
    ones[np.isnan(numbers)] = np.nan
    return ones, [f"{name}={category}" for category in known]


def _categories(name: str, texts: pa.StringArray) -> Sequence[str]:
    """The values that occur, sorted; numbers by their size."""
    values = [value for value in texts.unique().to_pylist() if value]
    if len(values) > _MOST:
        raise DataError(
            f"column {name!r} has {len(values):,} different values",
            expected=f"at most {_MOST:,} categories",
            hint="remove columns of ids or texts from `categorical`",
        )
    numeric = all(value.isdecimal() for value in values)
    return sorted(values, key=lambda value: (int(value), value) if numeric else (0, value))
