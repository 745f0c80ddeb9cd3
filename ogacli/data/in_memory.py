"""A dataset that is an object of a Python program.

In: arrays, a DataFrame, a dataset of the library ``datasets``, or any map-style dataset; labels, class
names, ids and true classes, each by value or by the name of a column. Out: the arguments of
``Samples.from_targets``.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.utils.data import TensorDataset

from ogacli.base.tables.columns import Columns
from ogacli.base.tables.features import Choice, features_of
from ogacli.base.tables.json_lines import typed_column
from ogacli.data.arrays import ArrayReader, array_reader, digest
from ogacli.data.files.npy import check_kind
from ogacli.data.ids import RowNumbers, numbered
from ogacli.data.images.boxes import BoxCounts
from ogacli.data.images.labelled import MasksInMemory, are_boxes, boxes_of, mask_targets
from ogacli.data.items import (
    LABELS,
    ItemReader,
    is_dataset,
    label_array,
    label_targets,
    own_classes,
    own_labels,
)
from ogacli.data.labels import Classes, Target, Targets
from ogacli.data.labels.label_types import LabelType, PixelClasses
from ogacli.data.reading import Reader
from ogacli.errors import DataError

Column = Shaped[np.ndarray, "n ..."]


@dataclass(frozen=True, slots=True)
class _Dataset:
    """The common form of all kinds of datasets."""

    n: int
    reader: Reader
    signature: str
    """A text that differs when the inputs do."""
    column: Callable[[str], Column]
    """From the name of a column to its values."""
    labels: Callable[[], Column]
    """The labels that the dataset itself holds."""
    classes: Callable[[Any], tuple[str, ...] | None] = lambda labels: None
    """The class names that the dataset itself holds, by the argument ``labels``."""
    table: Columns | None = None
    """The use of the columns of a table."""


def parts_of(
    dataset: Any, labels: Any, classes: Any, ids: Any, truth: Any
) -> tuple[pa.StringArray, Targets, Reader, str, Columns | None, LabelType | None]:
    """The arguments of ``Samples.from_targets``; ``Samples.of`` documents those here.

    Raises:
        DataError: The objects are no samples; the message names the argument.
    """
    apart = [name for name in (labels, ids, truth) if isinstance(name, str)]
    data = _dataset(dataset, apart, labelled=labels is None or isinstance(labels, str))
    given = data.labels() if labels is None else _column(data, "labels", labels)
    true = None if truth is None else _column(data, "truth", truth)
    names = RowNumbers(data.n)
    if ids is not None:
        names = pa.array(_column(data, "ids", ids), from_pandas=True).cast(pa.string())
    if len(given) != data.n:
        raise DataError(f"{data.n} samples but {len(given)} labels")
    own, known = data.classes(labels), None if classes is None else _class_names(classes)
    if are_boxes(given):
        targets, boxes = boxes_of(dataset, given.tolist(), known or own, true)
        return names, targets, boxes, boxes.lists.signature(data.signature), None, BoxCounts()
    if given.ndim == 3:
        targets = mask_targets(given, known or own or (), true)
        signature = _hash(data.signature, digest(given))
        return names, targets, MasksInMemory(data.reader, given, true), signature, None, PixelClasses()
    target: Target = "regression" if given.dtype.kind == "f" and not (known or own) else "classes"
    targets = label_targets(given, names, target=target, classes=known, own=own, truth=true)
    return names, targets, data.reader, data.signature, data.table, None


def _column(data: _Dataset, argument: str, value: Any) -> Column:
    """An argument that is a column's values or a column's name."""
    column = data.column(value) if isinstance(value, str) else label_array(value)
    if not column.ndim or len(column) != data.n:
        count = f"{len(column)} {argument}" if column.ndim else f"{argument} {value!r}"
        raise DataError(f"{data.n} samples but {count}", expected="one value a sample")
    return column


def _class_names(classes: Any) -> tuple[str, ...]:
    try:
        return TypeAdapter(Classes).validate_python(classes)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DataError("not class names", place="classes", found=repr(classes), expected=reason) from None


# --- kinds of datasets ----------------------------------------------------------------------------------


def _dataset(dataset: Any, apart: Sequence[str], *, labelled: bool) -> _Dataset:
    """The dataset by its kind.

    Args:
        dataset: The user's object.
        apart: Columns that are not inputs.
        labelled: Whether the dataset holds the labels.
    """
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        inputs, labels = (label_array(tensor) for tensor in dataset.tensors)
        return _of_array(inputs, lambda: labels)
    if hasattr(dataset, "select_dtypes"):
        return _of_frame(dataset, apart)
    if hasattr(dataset, "to_numpy"):
        dataset = dataset.to_numpy()  # a column of a DataFrame
    if isinstance(dataset, Tensor | np.ndarray):
        array = label_array(dataset)
        return _of_items(array.tolist(), apart, labelled) if array.dtype.kind in "UO" else _of_array(array)
    if isinstance(dataset, Mapping):
        return _of_arrays(dataset, apart)
    if not is_dataset(dataset):
        raise DataError(
            "not a dataset",
            found=type(dataset).__name__,
            expected="arrays, a DataFrame, or something with len() and [i], such as a torch Dataset",
        )
    return _of_items(dataset, apart, labelled)


def _no_column(known: Sequence[str]) -> Callable[[str], Column]:
    def column(name: str) -> Column:
        raise DataError(f"no column {name!r}", found=", ".join(known) or "no columns")

    return column


def _no_labels() -> Column:
    raise DataError("no labels", hint="give them as `labels`: one a sample, or the name of their column")


def _of_array(inputs: Column, labels: Callable[[], Column] = _no_labels) -> _Dataset:
    if not inputs.ndim:
        raise DataError("the inputs are one number", expected="an array [n, ...]")
    return _Dataset(len(inputs), array_reader(inputs, "inputs"), digest(inputs), _no_column(()), labels)


def _of_arrays(arrays: Mapping[str, Any], apart: Sequence[str]) -> _Dataset:
    """Arrays by name, as the network takes them; such as the result of a tokenizer."""
    if not arrays or not all(isinstance(array, Tensor | np.ndarray) for array in arrays.values()):
        kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in arrays.items())
        raise DataError(
            "a mapping that does not hold arrays",
            found=kinds or "nothing",
            hint="this may be several splits; give one, such as dataset['train']",
        )
    columns = {name: label_array(array) for name, array in arrays.items()}
    lengths = {len(column) if column.ndim else 0 for column in columns.values()}
    if len(lengths) > 1:
        raise DataError("the arrays differ in length", found=", ".join(map(str, sorted(lengths))))
    inputs = {name: column for name, column in columns.items() if name not in {*LABELS, *apart}}
    rows = _Rows(inputs)
    signature = _hash(*(part for name, column in inputs.items() for part in (name, digest(column))))
    own = next((name for name in LABELS if name in columns), None)

    def column(name: str) -> Column:
        return columns[name] if name in columns else _no_column(list(columns))(name)

    reader = ItemReader(rows, in_memory=True)
    return _Dataset(len(rows), reader, signature, column, lambda: columns[own] if own else _no_labels())


class _Rows:
    """Several arrays as a map-style dataset."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {name: np.asarray(column[i]) for name, column in self.columns.items()}


def _of_frame(frame: Any, apart: Sequence[str]) -> _Dataset:
    """A DataFrame of pandas: its columns of numbers are the features."""
    known = [str(name) for name in frame.columns]
    twice = next((name for name in known if known.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"several columns have the name {twice!r}", found=", ".join(known))
    inputs = {name: frame.iloc[:, i] for i, name in enumerate(known) if name not in apart}
    table = pa.table({name: _arrow(name, values) for name, values in inputs.items()})
    found = features_of(table, "DataFrame", Choice(keys=False), numbered(len(frame)))
    if not found.names:
        raise DataError(
            "no column of numbers beside the label",
            found=", ".join(known),
            hint='for texts give the column itself, as in Samples.of(frame["text"], labels=frame["label"])',
        )
    matrix, names = found.values, found.names

    def column(name: str) -> Column:
        return frame.iloc[:, known.index(name)].to_numpy() if name in known else _no_column(known)(name)

    signature = _hash(digest(matrix), *names)
    reader = ArrayReader(matrix, columns=names)
    return _Dataset(len(frame), reader, signature, column, _no_labels, table=found.columns)


def _arrow(name: str, values: Any) -> pa.Array:
    """A column of a DataFrame, in which all values are of one type."""
    if isinstance(values.dtype, np.dtype):
        check_kind(values.dtype, f"column {name!r}")
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return typed_column(name, values.tolist(), lambda row: f"row {row} of the DataFrame")


def _of_items(dataset: Any, apart: Sequence[str], labelled: bool) -> _Dataset:
    """Any map-style dataset; labels of the library ``datasets`` are read without the inputs."""
    if not len(dataset):
        raise DataError("the dataset is empty", expected="at least one sample")
    tabular = hasattr(dataset, "column_names") and hasattr(dataset, "with_format")
    own = next((name for name in LABELS if tabular and name in dataset.column_names), None)
    texts = isinstance(dataset, list | tuple)

    def column(name: str) -> Column:
        if not tabular:
            return own_labels(dataset, name)
        known = dataset.column_names
        return (
            label_array(dataset.with_format("numpy")[name][:]) if name in known else _no_column(known)(name)
        )

    def classes(labels: Any) -> tuple[str, ...] | None:
        name = labels if isinstance(labels, str) else own
        return own_classes(dataset.features.get(name) if tabular else None, "names") or own_classes(dataset)

    reader = ItemReader(dataset, {*LABELS, *apart}, in_memory=texts)
    reader.check(labelled=labelled)
    kind = type(dataset)
    parts = [f"{kind.__module__}.{kind.__qualname__}", str(len(dataset))]
    if texts and all(isinstance(item, str) for item in dataset):
        parts += dataset
    labels = (lambda: column(own)) if own else (lambda: own_labels(dataset))
    return _Dataset(len(dataset), reader, _hash(*parts), column, labels, classes)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()
