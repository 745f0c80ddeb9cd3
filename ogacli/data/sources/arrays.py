"""Samples in npy or npz files: ``x`` [n, ...] and ``y`` [n] or [n, k]."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped
from pydantic import field_validator

from ogacli.base.options import Location, locate
from ogacli.data.arrays import NoInputs, array_reader, digest
from ogacli.data.files.npy import Rows, open_array, whole
from ogacli.data.ids import RowNumbers
from ogacli.data.images import Transform
from ogacli.data.labels import Classes, Target, Targets, arrow, class_targets
from ogacli.data.labels.label_lists import matrix_targets
from ogacli.data.reading import Reader
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.errors import DataError


@sources.register
class Arrays(Source):
    """Arrays in npy files, or in one npz file."""

    path: Location | None = None
    """An npz file; ``x``, ``y``, ``truth`` and ``ids`` are then names inside it."""
    x: str | None = None
    """The inputs [n, ...]. Floats reach the model as float32, integers as int64. ``uint8`` arrays are
    pictures, [n, h, w], [n, h, w, c] or [n, c, h, w], and reach it as floats [c, h, w] from 0 to 1. May be
    left out where the model is ``precomputed``."""
    y: str
    """The labels: class indices or names [n]; 0 or 1 per class [n, k]; or the targets of a regression."""
    truth: str | None = None
    """The true labels, of the shape of ``y``, only for evaluation."""
    ids: str | None = None
    """Unique values [n]; by default samples are numbered from 0."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or their number."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""
    transform: Transform = Transform()
    """Of pictures: ``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as used in
    training."""

    @field_validator("x", "y", "truth", "ids", mode="before")
    @classmethod
    def _located(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str) and info.data.get("path") is None:
            return locate(value, (info.context or {}).get("base", Path.cwd()))
        return value

    def load(self) -> Samples:
        """All rows."""
        labels = whole(self._array("y", self.y))
        if not labels.ndim or not len(labels):
            raise DataError(
                "no labels", place=self.y, found=f"shape {list(labels.shape)}", expected="[n, ..]"
            )
        ids = RowNumbers(len(labels)) if self.ids is None else self._column("ids", self.ids, len(labels))
        ids = ids.cast(pa.string())
        reader, signature = self._reader(len(labels))
        return Samples.from_targets(ids, self._targets(labels, ids), reader, signature)

    def _reader(self, n: int) -> tuple[Reader, str]:
        """The reader of the inputs, and their signature."""
        if self.x is None:
            return NoInputs(), "no inputs"
        inputs = self._array("x", self.x, n)
        return array_reader(inputs, self.x, self.transform), digest(inputs)

    def _targets(self, labels: Shaped[np.ndarray, "n ..."], ids: pa.StringArray) -> Targets:
        with DataError.within(f"data.y {self.y}"):
            if self.target == "classes" and labels.ndim == 1:
                truth = None if self.truth is None else self._column("truth", self.truth, len(labels))
                return class_targets(arrow(labels), ids, classes=self.classes, truth=truth)
            if labels.ndim > 2:
                raise DataError("too many dimensions", found=list(labels.shape), expected="[n] or [n, k]")
            true = None if self.truth is None else whole(self._array("truth", self.truth, len(labels)))
            if true is not None and true.size != labels.size:
                raise DataError(
                    "the truth has another shape than the labels",
                    found=list(true.shape),
                    expected=str(list(labels.shape)),
                )
            return matrix_targets(labels, ids, target=self.target, classes=self.classes, truth=true)

    def _array(self, key: str, name: str, n: int | None = None) -> Rows:
        path, inside = (name, None) if self.path is None else (self.path, name)
        found = open_array(path, inside, self.bounds)
        length = found.shape[0] if found.shape else 0
        if n is not None and length != n:
            raise DataError(f"{n} labels but {length} rows", place=f"data.{key} {name}")
        return found

    def _column(self, key: str, name: str, n: int) -> pa.Array:
        found = whole(self._array(key, name, n))
        if found.ndim > 1:
            raise DataError("not one value a sample", place=f"data.{key} {name}", found=list(found.shape))
        return arrow(found)
