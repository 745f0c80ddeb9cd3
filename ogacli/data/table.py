"""A csv, jsonl or parquet file with a row a sample: its label, and an image's name or features."""

import string
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float32
from pydantic import Field, model_validator

from ogacli.data import Source, sources
from ogacli.data.arrays import ArrayReader, digest
from ogacli.data.files import open_files
from ogacli.data.images import ImageReader, Transform
from ogacli.data.labels import (
    Classes,
    Target,
    Targets,
    class_targets,
    multi_label_targets,
    regression_targets,
)
from ogacli.data.samples import Reader, Samples, numbered
from ogacli.errors import DataError
from ogacli.options import Location
from ogacli.tables import read_table


@sources.register
class Table(Source):
    """One row a sample."""

    path: Location
    """The csv, tsv, jsonl or parquet file; a path or fsspec URL."""
    label: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """The label's column: class names, or class indices from 0. A list of columns: 0 or 1 for each class, or
    the targets of a regression. A column of lists: several classes a sample."""
    truth: str | None = None
    """The column of the true classes, only to evaluate."""
    id: str | None = None
    """A column of unique values; by default samples are numbered from 0."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or how many there are."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What stands between the classes of a sample in the label column, such as ``|``."""
    image: str | None = None
    """The column of the image file's name, or a pattern over columns such as ``"{index:05d}.jpg"``."""
    root: Location | None = None
    """The folder, zip archive or fsspec URL that ``image`` is relative to; by default the table's folder."""
    transform: Transform = Transform()
    """Of images: ``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training."""
    features: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Numeric columns; by default, where there is no ``image``, all but label, truth and id."""

    @model_validator(mode="after")
    def _fits(self) -> "Table":
        if self.image is not None and self.features is not None:
            raise ValueError("`image` and `features` exclude each other")
        if self.image is None and self.root is not None:
            raise ValueError("`root` needs `image`: a column or a pattern such as '{index:05d}.jpg'")
        if self.truth is not None and (self.target == "regression" or self._several):
            raise ValueError("`truth` needs one class a sample")
        return self

    def load(self) -> Samples:
        """All rows."""
        table = read_table(self.path, text=self._text_columns)
        if not len(table):
            raise DataError("the table has no rows", place=self.path)
        ids = (
            numbered(len(table)) if self.id is None else _column(table, self.id, self.path).cast(pa.string())
        )
        targets = self._targets(table, ids)
        reader, signature = self._reader(table, ids)
        return Samples(
            ids=ids,
            positions=torch.arange(len(table)),
            labels=targets.labels,
            classes=targets.classes,
            reader=reader,
            signature=signature,
            truth=targets.truth,
        )

    @property
    def _several(self) -> bool:
        return not isinstance(self.label, str) or self.separator is not None

    @property
    def _labels(self) -> tuple[str, ...]:
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def _text_columns(self) -> frozenset[str]:
        """Columns that must keep their leading zeros: ids, and names of files."""
        formatted = _fields(self.image or "")
        names = {self.image or ""} if not formatted else {n for n, spec in formatted if not spec}
        numbers = {name for name, spec in formatted if spec} | {*self._labels, self.truth or ""}
        return frozenset({self.id or "", *names} - numbers)

    def _targets(self, table: pa.Table, ids: pa.StringArray) -> Targets:
        columns = {name: _column(table, name, self.path) for name in self._labels}
        try:
            if self.target == "regression":
                return regression_targets(columns, ids)
            if not isinstance(self.label, str):
                return multi_label_targets(columns, ids, classes=self.classes)
            column = columns[self.label]
            if self.separator is not None or pa.types.is_nested(column.type):
                return multi_label_targets(column, ids, classes=self.classes, separator=self.separator)
            truth = None if self.truth is None else _column(table, self.truth, self.path)
            return class_targets(column, ids, classes=self.classes, truth=truth)
        except DataError as error:
            raise DataError(str(error), place=f"{self.path}, column {', '.join(self._labels)}") from None

    def _reader(self, table: pa.Table, ids: pa.StringArray) -> tuple[Reader, str]:
        """The reader, and what identifies what it reads."""
        if self.image is None:
            names = self.features or self._numeric(table)
            inputs = np.stack([_feature(table, name, self.path) for name in names], 1)
            return ArrayReader(inputs, columns=names), digest(inputs)
        files = open_files(self.root or self.path.rpartition("/")[0] or ".")
        found = self._file_names(table, self.image, ids)
        return ImageReader(files, found, self.transform), files.signature(found)

    def _numeric(self, table: pa.Table) -> tuple[str, ...]:
        taken = {*self._labels, self.truth, self.id}
        found = [field.name for field in table.schema if _is_numeric(field.type) and field.name not in taken]
        if not found:
            raise DataError(
                "no numeric column to be a feature",
                place=self.path,
                found=", ".join(table.column_names),
                hint="name the column of image files as `image`, or numeric columns as `features`",
            )
        return tuple(found)

    def _file_names(self, table: pa.Table, image: str, ids: pa.StringArray) -> pa.StringArray:
        fields = _fields(image)
        if not fields:
            names = _column(table, image, self.path).cast(pa.string())
        else:
            columns = {name: _column(table, name, self.path).to_pylist() for name, _ in fields}
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


def _column(table: pa.Table, name: str, place: str) -> pa.Array:
    if name not in table.column_names:
        near = get_close_matches(name, table.column_names, n=1)
        raise DataError(
            f"no column {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            place=place,
            found=", ".join(table.column_names),
        )
    found = table.column(name).combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _feature(table: pa.Table, name: str, place: str) -> Float32[np.ndarray, " n"]:
    column = _column(table, name, place)
    if not _is_numeric(column.type):
        raise DataError(
            f"column {name!r} is not numeric",
            place=place,
            found=column.type,
            hint="encode it as numbers, or leave it out of `features`",
        )
    return np.asarray(pc.cast(column, pa.float32(), safe=False).to_numpy(zero_copy_only=False))


def _is_numeric(kind: pa.DataType) -> bool:
    checks: Sequence[Any] = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_decimal,
    )
    return any(check(kind) for check in checks)
