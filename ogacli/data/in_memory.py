"""Objects of a Python program -> ``Samples``.

In: arrays, a DataFrame, a dataset of the library ``datasets``, or any map-style dataset; labels, class names,
ids and true labels, each by value or by the name of a column. Out: ``Samples``.
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

from ogacli.data.arrays import ArrayReader, array_reader, digest
from ogacli.data.items import LABELS, ItemReader, is_dataset, label_array, label_targets, own_labels
from ogacli.data.labels import Classes
from ogacli.data.samples import Reader, Samples, numbered
from ogacli.errors import DataError

Column = Shaped[np.ndarray, "n ..."]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A dataset, whatever its kind."""

    n: int
    reader: Reader
    signature: str
    """What identifies the inputs."""
    column: Callable[[str], Column]
    """The column of a name."""
    labels: Callable[[], Column]
    """The labels that come with the dataset."""
    classes: Callable[[Any], Sequence[str] | None] = lambda labels: None
    """The class names that the dataset knows for such labels."""


def samples_of(dataset: Any, labels: Any, classes: Any, ids: Any, truth: Any) -> Samples:
    """What ``Samples.of`` returns; it documents the arguments.

    Raises:
        DataError: These are no samples; the message says which argument is wrong.
    """
    try:
        apart = [name for name in (labels, ids, truth) if isinstance(name, str)]
        opened = _opened(dataset, apart, labelled=labels is None or isinstance(labels, str))
        given = opened.labels() if labels is None else _column(opened, "labels", labels)
        true = None if truth is None else _column(opened, "truth", truth)
        names = numbered(opened.n)
        if ids is not None:
            names = pa.array(_column(opened, "ids", ids), from_pandas=True).cast(pa.string())
        if len(given) != opened.n:
            raise DataError(f"{opened.n} samples but {len(given)} labels")
        known = opened.classes(labels) if classes is None else _class_names(classes)
        target = "regression" if given.dtype.kind == "f" and not known else "classes"
        targets = label_targets(given, names, target=target, classes=known, truth=true)  # type: ignore[arg-type]
        return targets.samples(names, opened.reader, opened.signature)
    except DataError as error:
        raise DataError(str(error), place="Samples.of") from None


def _column(opened: _Opened, noun: str, value: Any) -> Column:
    """A column that is given by value, or by its name in the dataset."""
    found = opened.column(value) if isinstance(value, str) else label_array(value)
    if not found.ndim or len(found) != opened.n:
        count = f"{len(found)} {noun}" if found.ndim else f"{noun} {value!r}"
        raise DataError(f"{opened.n} samples but {count}", expected="one value a sample")
    return found


def _class_names(classes: Any) -> tuple[str, ...]:
    try:
        return TypeAdapter(Classes).validate_python(classes)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DataError("not class names", place="classes", found=repr(classes), expected=reason) from None


# --- kinds of datasets ----------------------------------------------------------------------------------


def _opened(dataset: Any, apart: Sequence[str], *, labelled: bool) -> _Opened:
    """The dataset as what it is.

    Args:
        dataset: What the user gave.
        apart: Columns that are not inputs.
        labelled: Whether the labels are to be found in it.
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


def _of_array(inputs: Column, labels: Callable[[], Column] = _no_labels) -> _Opened:
    if not inputs.ndim:
        raise DataError("the inputs are one number", expected="an array [n, ...]")
    return _Opened(len(inputs), array_reader(inputs, "inputs"), digest(inputs), _no_column(()), labels)


def _of_arrays(arrays: Mapping[str, Any], apart: Sequence[str]) -> _Opened:
    """Arrays by the names that the network calls them, such as what a tokenizer returns."""
    if not arrays or not all(isinstance(array, Tensor | np.ndarray) for array in arrays.values()):
        kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in arrays.items())
        raise DataError(
            "a mapping that does not hold arrays",
            found=kinds or "nothing",
            hint="of several splits give one, such as dataset['train']",
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
    return _Opened(len(rows), reader, signature, column, lambda: columns[own] if own else _no_labels())


class _Rows:
    """Rows of several arrays."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {name: np.asarray(column[i]) for name, column in self.columns.items()}


def _of_frame(frame: Any, apart: Sequence[str]) -> _Opened:
    """A DataFrame of pandas: its columns of numbers are the features."""
    known = [str(name) for name in frame.columns]
    features = frame.select_dtypes(["number", "bool"]).drop(columns=list(apart), errors="ignore")
    if not len(features.columns):
        raise DataError(
            "no column of numbers beside the label",
            found=", ".join(known),
            hint='of texts give the column itself, as in Samples.of(frame["text"], labels=frame["label"])',
        )
    matrix = features.to_numpy(dtype=np.float32, na_value=np.nan)
    names = [str(name) for name in features.columns]

    def column(name: str) -> Column:
        return frame[name].to_numpy() if name in known else _no_column(known)(name)

    signature = _hash(digest(matrix), *names)
    return _Opened(len(frame), ArrayReader(matrix, columns=names), signature, column, _no_labels)


def _of_items(dataset: Any, apart: Sequence[str], labelled: bool) -> _Opened:
    """Any map-style dataset; of the library ``datasets`` labels are read without the inputs."""
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

    def classes(labels: Any) -> Sequence[str] | None:
        name = labels if isinstance(labels, str) else own
        found = getattr(dataset.features.get(name), "names", None) if tabular else None
        found = getattr(dataset, "classes", None) if found is None else found
        return tuple(map(str, found)) if isinstance(found, list | tuple) else None

    reader = ItemReader(dataset, {*LABELS, *apart}, in_memory=texts)
    reader.check(labelled=labelled)
    kind = type(dataset)
    parts = [f"{kind.__module__}.{kind.__qualname__}", str(len(dataset))]
    if texts and all(isinstance(item, str) for item in dataset):
        parts += dataset
    labels = (lambda: column(own)) if own else (lambda: own_labels(dataset))
    return _Opened(len(dataset), reader, _hash(*parts), column, labels, classes)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()
