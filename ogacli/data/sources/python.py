"""Samples from a function of the user's own: anything that torch would call a map-style dataset.

In: ``factory(**args)``, which returns an object with ``len()`` and ``[i]`` -> ``(inputs, label)``. Out:
``Samples`` whose inputs are tensors, mappings of tensors, or texts.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Shaped
from pydantic import Field
from torch import Tensor

from ogacli.base.options import Location
from ogacli.base.user_code import called
from ogacli.data.labels import Classes, Target, Targets, class_targets, matrix_targets
from ogacli.data.samples import Inputs, Preview, Samples, Unreadable, numbered
from ogacli.data.sources import Source, sources
from ogacli.data.sources.arrays import channel_axis, picture
from ogacli.errors import ConfigError, DataError

_SHOWN = 2000
"""Characters of a text in a preview."""


@sources.register
class Python(Source):
    """What a function of the user's own returns."""

    factory: str
    """``package.module:name`` of a function or class, in a module in ``folder`` or in the current folder."""
    args: dict[str, Any] = Field(default={})
    """What it is called with."""
    folder: Location = Field(default=".", validate_default=True)
    """Where modules are looked for first; the config's own folder where left out."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or how many there are; by default the dataset's
    own ``classes``."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""

    runs_code: ClassVar[bool] = True

    def load(self) -> Samples:
        """All samples; ids are their indices.

        Labels are the dataset's ``targets`` or ``labels`` where it has such a list, and otherwise read one by
        one.
        """
        dataset = self._dataset()
        n = len(dataset)
        if n == 0:
            raise DataError("the dataset is empty", place=self._place)
        ids = numbered(n)
        try:
            targets = self._targets(_labels(dataset, n), ids, getattr(dataset, "classes", None))
        except DataError as error:
            raise DataError(str(error), place=self._place) from None
        called = json.dumps([self.factory, self.args, n], sort_keys=True, default=str)
        return targets.samples(ids, ItemReader(dataset), hashlib.sha256(called.encode()).hexdigest())

    @property
    def _place(self) -> str:
        return f"data.factory {self.factory}"

    def _dataset(self) -> Any:
        dataset = called(self.factory, self.args, self.folder, place=self._place, returns="a dataset")
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ConfigError(
                "the factory does not return a dataset",
                place=self._place,
                found=type(dataset).__name__,
                expected="something with len() and [i], such as a torch.utils.data.Dataset",
            )
        return dataset

    def _targets(self, labels: Shaped[np.ndarray, "n ..."], ids: pa.StringArray, known: Any) -> Targets:
        names = self.classes or (tuple(map(str, known)) if isinstance(known, list | tuple) else None)
        if labels.ndim > 2 or labels.dtype == object:
            raise DataError(
                "not labels", found=f"{labels.dtype} {list(labels.shape)}", expected="[n] or [n, k]"
            )
        if self.target == "classes" and labels.ndim == 1:
            if labels.dtype.kind in "iu" and names:  # indices, even where the names are numbers too
                indices = [str(i) for i in range(len(names))]
                return Targets(class_targets(pa.array(labels), ids, classes=indices).labels, names)
            return class_targets(pa.array(labels), ids, classes=names)
        return matrix_targets(labels, ids, target=self.target, classes=names)


class ItemReader:
    """Reads the items of a dataset, and puts their inputs together."""

    in_memory = False

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def read(self, positions: Sequence[int]) -> tuple[Inputs | None, Mapping[int, str]]:
        """The inputs that can be had; an item that fails, or is unlike the first one, is quarantined."""
        found: list[Any] = []
        failures: dict[int, str] = {}
        for i, position in enumerate(positions):
            try:
                inputs = self._inputs(position)
                kind = _kind(inputs)
                if found and kind != _kind(found[0]):
                    raise Unreadable(f"{kind}, the others {_kind(found[0])}")
                found.append(inputs)
            except Unreadable as reason:
                failures[i] = str(reason)
        return (_together(found) if found else None), failures

    def preview(self, position: int) -> Preview:
        """A picture or a text where the input is one; otherwise its first values."""
        inputs = self._inputs(position)
        if isinstance(inputs, Mapping):
            inputs = next(iter(inputs.values()))
        if not isinstance(inputs, Tensor):
            texts = [inputs] if isinstance(inputs, str) else inputs
            return Preview("text", "\n".join(text[:_SHOWN] for text in texts).encode())
        if channel_axis(tuple(inputs.shape)) is not None:
            return picture(inputs.numpy())
        values = ", ".join(f"{value:.4g}" for value in inputs.flatten()[:12].tolist())
        return Preview("text", (values + (", …" if inputs.numel() > 12 else "")).encode())

    def file(self, position: int) -> Path | bytes | None:
        """None: where the items come from is the dataset's own affair."""
        return None

    def _inputs(self, position: int) -> Any:
        """The inputs of one item.

        Raises:
            Unreadable: It cannot be had.
        """
        try:
            inputs = self.dataset[position][0]
        except Exception as error:  # the code is not ours: anything may go wrong in it
            raise Unreadable(f"{type(error).__name__}: {error}") from None
        if isinstance(inputs, np.ndarray):
            inputs = torch.from_numpy(np.ascontiguousarray(inputs))
        tensors = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
        for tensor in tensors:
            if isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
                raise Unreadable("a value of the input is not finite")
        return inputs


def _kind(inputs: Any) -> str:
    """What must be the same for all items that are put together.

    Raises:
        Unreadable: No network could be called with it.
    """
    if isinstance(inputs, str):
        return "a text"
    if isinstance(inputs, tuple) and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return "a pair of texts"
    if isinstance(inputs, Tensor):
        return f"{list(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
    if isinstance(inputs, Mapping) and all(isinstance(value, Tensor) for value in inputs.values()):
        return ", ".join(f"{name} {_kind(value)}" for name, value in sorted(inputs.items()))
    raise Unreadable(f"a {type(inputs).__name__}; expected a tensor, a mapping of tensors, or a text")


def _together(inputs: Sequence[Any]) -> Inputs:
    first = inputs[0]
    if isinstance(first, Tensor):
        return torch.stack(list(inputs))
    if isinstance(first, Mapping):
        return {name: torch.stack([one[name] for one in inputs]) for name in first}
    return list(inputs)


def _labels(dataset: Any, n: int) -> Shaped[np.ndarray, "n ..."]:
    """From the list that many datasets keep, or by reading all samples.

    Raises:
        DataError: An item is not a pair, or the labels differ in shape.
    """
    for attribute in ("targets", "labels"):
        found = getattr(dataset, attribute, None)
        if found is not None and len(found) == n:
            break
    else:
        found = [_label(dataset, i) for i in range(n)]
    try:
        return np.asarray([one.numpy() for one in found] if isinstance(found[0], Tensor) else found)
    except (ValueError, TypeError) as error:
        raise DataError("the labels differ in shape or type", found=str(error)) from None


def _label(dataset: Any, i: int) -> Any:
    try:
        _, label = dataset[i]
    except Exception as error:  # the code is not ours: anything may go wrong in it
        raise DataError(
            "the label cannot be read",
            place=f"sample {i}",
            found=f"{type(error).__name__}: {error}",
            expected="(inputs, label)",
            hint="give the dataset a list `targets`, so that a broken sample is quarantined instead",
        ) from error
    return label
