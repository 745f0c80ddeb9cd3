"""Inputs and labels of a map-style dataset, which is any object with ``len()`` and ``[i]``.

In: the dataset, whose items are ``(inputs, label)``, mappings with a key for the label, or inputs alone. Out:
a reader of the inputs, and the labels of all items. Inputs are tensors, mappings of tensors, texts, or pairs
of texts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Shaped
from torch import Tensor

from ogacli.data.arrays import channel_axis, first_values, picture
from ogacli.data.labels import Target, Targets, class_targets
from ogacli.data.labels.class_names import whole
from ogacli.data.labels.label_lists import matrix_targets
from ogacli.data.reading import Inputs, Preview, Reader
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

LABELS = ("label", "labels")
"""Keys of the label, where items are mappings and no other key is given."""
_SHOWN = 2000
"""Characters of a text in a preview."""


def is_dataset(found: Any) -> bool:
    """Whether an object has ``len()`` and ``[i]``."""
    return hasattr(found, "__len__") and hasattr(found, "__getitem__")


class ItemReader(Reader):
    """Reads the items of a dataset and stacks their inputs.

    Args:
        dataset: Any map-style dataset.
        apart: Keys that are not inputs, where items are mappings.
        in_memory: Whether reading an item is a look-up in memory.
    """

    def __init__(self, dataset: Any, apart: Collection[str] = LABELS, *, in_memory: bool = False) -> None:
        self.dataset = dataset
        self.apart = frozenset(apart)
        self.in_memory = in_memory

    def read(self, positions: Sequence[int]) -> tuple[Inputs | None, Mapping[int, str]]:
        """The readable inputs; one that fails, or differs from the first in shape or type, is quarantined."""
        found: list[Any] = []
        failures: dict[int, str] = {}
        for i, position in enumerate(positions):
            try:
                inputs = self.inputs(position)
                kind = _kind(inputs)
                if found and kind != _kind(found[0]):
                    raise Unreadable(f"{kind}, the others {_kind(found[0])}")
                found.append(inputs)
            except Unreadable as reason:
                failures[i] = str(reason)
        return (_together(found) if found else None), failures

    def check(self, *, labelled: bool) -> None:
        """Check that a network can be called with the first item, where that item can be read.

        Args:
            labelled: Whether the items hold the labels.

        Raises:
            DataError: No network can be called with it.
        """
        try:
            item = self.dataset[0]
        except Exception:  # a broken item is quarantined when it is read
            return
        if not labelled and isinstance(item, tuple) and [type(part) for part in item] == [str, str]:
            raise DataError(
                "an item of two texts may be a text and its label, or a pair of texts",
                place="sample 0",
                expected="a text, or ((first text, second text), label)",
            )
        try:
            _kind(self._inputs(item))
        except (Unreadable, TypeError, LookupError) as error:
            raise DataError(
                "no network can be called with the inputs",
                place="sample 0",
                found=str(error),
                hint="let the dataset return (inputs, label); of a table select the columns of the inputs",
            ) from None

    def preview(self, position: int) -> Preview:
        """A picture or a text where the input is one; otherwise its first values."""
        inputs = self.inputs(position)
        if isinstance(inputs, Mapping):
            inputs = next(iter(inputs.values()))
        if not isinstance(inputs, Tensor):
            texts = [inputs] if isinstance(inputs, str) else inputs
            return Preview("text", "\n".join(text[:_SHOWN] for text in texts).encode())
        if channel_axis(tuple(inputs.shape)) is not None:
            return picture(inputs.numpy())
        return first_values(np.array(inputs.flatten()[:13].tolist()))

    def inputs(self, position: int) -> Any:
        """The inputs of one item.

        Raises:
            Unreadable: The dataset fails, a value is not finite, or no network can be called with it.
        """
        try:
            inputs = self._inputs(self.dataset[position])
        except Exception as error:  # the user's code may raise anything
            raise Unreadable(f"{type(error).__name__}: {error}") from None
        _kind(inputs)
        tensors = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
        for tensor in tensors:
            if isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
                raise Unreadable("a value of the input is not finite")
        return inputs

    def _inputs(self, item: Any) -> Any:
        if isinstance(item, Mapping):
            return _of_mapping(item, self.apart)
        return _tensor(item if isinstance(item, str | Tensor | np.ndarray) else item[0])


def _of_mapping(item: Mapping[str, Any], apart: frozenset[str]) -> Any:
    """The inputs in an item that is a mapping; where one key is left, its value."""
    found = {name: _tensor(value, lists=True) for name, value in item.items() if name not in apart}
    return next(iter(found.values())) if len(found) == 1 else found


def _tensor(value: Any, *, lists: bool = False) -> Any:
    """Numbers in another form as a tensor; other values unchanged."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.asarray(value, order="C"))  # ascontiguousarray adds an axis to a number
    if lists and isinstance(value, list | int | float):
        found = np.asarray(value)
        if found.dtype.kind in "biuf":
            return torch.from_numpy(found.astype(np.float32) if found.dtype.kind == "f" else found)
    return value


def _kind(inputs: Any) -> str:
    """Shape and type of inputs, which must be equal for all that are stacked.

    Raises:
        Unreadable: No network can be called with it.
    """
    if isinstance(inputs, str):
        return "a text"
    if isinstance(inputs, tuple) and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return "a pair of texts"
    if isinstance(inputs, Tensor):
        return f"{list(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
    if isinstance(inputs, Mapping) and all(isinstance(value, Tensor) for value in inputs.values()):
        return ", ".join(f"{name} {_kind(value)}" for name, value in sorted(inputs.items()))
    found = f"a {type(inputs).__name__}"
    if isinstance(inputs, Mapping):
        found += " with " + ", ".join(f"{name}: {type(value).__name__}" for name, value in inputs.items())
    raise Unreadable(f"{found}; expected a tensor, a mapping of tensors, or a text")


def _together(inputs: Sequence[Any]) -> Inputs:
    first = inputs[0]
    if isinstance(first, Tensor):
        return torch.stack(list(inputs))
    if isinstance(first, Mapping):
        return {name: torch.stack([one[name] for one in inputs]) for name in first}
    return list(inputs)


# --- labels --------------------------------------------------------------------------------------------


def own_labels(
    dataset: Any, key: str | None = None, lists: Sequence[str] = ("targets", "labels")
) -> Shaped[np.ndarray, "n ..."]:
    """The labels of a dataset, from the list that many datasets have, or else from every item.

    Args:
        dataset: Any map-style dataset.
        key: The key of the label, where items are mappings; ``label`` or ``labels`` by default.
        lists: Attributes that may hold the labels of all items.

    Raises:
        DataError: An item has no label, or the labels differ in shape.
    """
    n = len(dataset)
    for attribute in lists:
        found = None if key else getattr(dataset, attribute, None)
        if found is not None and is_dataset(found) and len(found) == n:
            break
    else:
        found = [_label(dataset, i, key) for i in range(n)]
    return label_array(found)


def first_labels(dataset: Any, positions: Sequence[int], probed: int) -> dict[int, Any]:
    """The labels of a dataset by index into ``positions``; empty where it has none.

    Args:
        dataset: Any map-style dataset.
        positions: Of the samples whose labels are wanted.
        probed: How many items are read at most, where the dataset has no list of labels.
    """
    for attribute in ("targets", "labels"):
        found = getattr(dataset, attribute, None)
        if found is not None and is_dataset(found) and len(found) == len(dataset):
            every = label_array(found)
            return (
                {i: _scalar(every[position]) for i, position in enumerate(positions)}
                if every.ndim == 1
                else {}
            )
    some = range(0, len(positions), max(1, len(positions) // probed))
    try:
        return {i: _scalar(_label(dataset, positions[i], None)) for i in some}
    except DataError:  # items without labels
        return {}


def _scalar(label: Any) -> Any:
    return label.item() if isinstance(label, Tensor | np.generic) else label


def own_classes(dataset: Any, attribute: str = "classes") -> tuple[str, ...] | None:
    """The class names that a dataset keeps as a list in an attribute; None where it has no such list."""
    names = getattr(dataset, attribute, None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def label_array(labels: Any) -> Shaped[np.ndarray, "n ..."]:
    """Labels in any form as an array.

    Raises:
        DataError: They differ in shape or type.
    """
    try:
        if isinstance(labels, Tensor):
            if labels.dtype == torch.bfloat16:  # which numpy lacks
                labels = labels.float()
            return np.asarray(labels.detach().cpu().numpy())
        if isinstance(labels, list | tuple):
            labels = [one.numpy() if isinstance(one, Tensor) else one for one in labels]
        return np.asarray(labels)
    except (ValueError, TypeError) as error:
        raise DataError("the labels differ in shape or type", found=str(error)) from None


def label_targets(
    labels: Shaped[np.ndarray, "n ..."],
    ids: pa.StringArray,
    *,
    target: Target,
    classes: Sequence[str] | None,
    own: Sequence[str] | None = None,
    truth: Shaped[np.ndarray, "n ..."] | None = None,
) -> Targets:
    """The targets in labels of a dataset; integers are class indices, even where class names are numbers.

    Where they cannot be indices but are names, such as 1, 2, 5, 9, they are the names.

    Args:
        labels: Of the dataset.
        ids: The samples' ids.
        target: What they are.
        classes: The class names that the user gave. Where they are the dataset's own names, or its class
            indices, in another order, labels are matched with them by name.
        own: The dataset's own names.
        truth: The true classes.

    Raises:
        DataError: The labels do not fit ``target`` and ``classes``.
    """
    if labels.dtype.kind == "c" or labels.ndim not in (1, 2) or (labels.dtype == object and labels.ndim > 1):
        raise DataError("not labels", found=f"{labels.dtype} {list(labels.shape)}", expected="[n] or [n, k]")
    if target != "classes" or labels.ndim == 2:
        if truth is not None and truth.reshape(len(truth), -1).shape != labels.reshape(len(labels), -1).shape:
            raise DataError(
                "the truth has another shape than the labels",
                found=f"truth {list(truth.shape)}",
                expected=f"{list(labels.shape)}",
            )
        return matrix_targets(labels, ids, target=target, classes=classes or own, truth=truth)
    columns = [pa.array(column, from_pandas=True) for column in (labels, truth) if column is not None]
    names, true = tuple(classes or own or ()), next(iter(columns[1:]), None)
    if names and all(pa.types.is_integer(column.type) for column in columns):
        numbers = [str(i) for i in range(len(names))]
        if own and classes and set(own) <= set(classes):
            columns = [_named(column, own) for column in columns]
        elif own or (sorted(names) != sorted(numbers) and not _are_names(columns, names)):
            found = class_targets(columns[0], ids, classes=numbers, truth=true)
            return replace(found, classes=names, class_order="indices" if classes else "given")
    return class_targets(columns[0], ids, classes=names, truth=next(iter(columns[1:]), None))


def _named(indices: pa.Array, names: Sequence[str]) -> pa.Array:
    """The names of class indices; null where there is none."""
    known = pc.and_(pc.greater_equal(indices, 0), pc.less(indices, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(known, indices, None))


def _are_names(columns: Sequence[pa.Array], names: Sequence[str]) -> bool:
    """Whether whole numbers are names rather than indices, as 1, 2, 5, 9 with the classes [1, 2, 5, 9]."""
    occurring = {value for column in columns for value in column.unique().to_pylist()}
    return not occurring <= set(range(len(names))) and occurring <= {
        int(name) for name in names if whole(name)
    }


def _label(dataset: Any, i: int, key: str | None) -> Any:
    try:
        item = dataset[i]
        if isinstance(item, Mapping):
            return item[key or next(name for name in LABELS if name in item)]
        _, label = item
    except Exception as error:  # the user's code may raise anything
        known = f"a mapping with the key {key!r}" if key else "(inputs, label), or a mapping with a `label`"
        raise DataError(
            "the label cannot be read",
            place=f"sample {i}",
            found=f"{type(error).__name__}: {error}",
            expected=known,
            hint="give the dataset a list `targets`, so that a broken sample is quarantined instead",
        ) from error
    return label
