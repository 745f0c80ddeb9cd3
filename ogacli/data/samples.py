"""``Samples``: what is known of a dataset without reading it, and the reader that reads it in batches.

Row i of everything is ``ids[i]``. A row's *position* is where it stands in the source; the two differ
only where the config asked for a part of the source.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ogacli.data.label_types import LabelType, OneClass, inferred
from ogacli.errors import DataError

Inputs = Any
"""What the network is called with: a tensor [b, ...], a mapping of names to tensors [b, ...], or a list of b
texts or pairs of texts."""


class Unreadable(Exception):
    """Raised by a reader for a sample that cannot be read; the sample is quarantined with this reason."""


@dataclass(frozen=True, slots=True)
class Preview:
    """How a sample is shown to a person: a picture (PNG bytes), text, or text in weighted parts."""

    kind: str
    """``image``, ``text``, or ``tokens``: a JSON list of ``[text, share of the loss]``."""
    content: bytes


@runtime_checkable
class Reader(Protocol):
    """Reads samples by position. It is sent to worker processes, so it must pickle."""

    in_memory: bool
    """True where reading is a mere look-up, so that worker processes would only cost."""

    def read(self, positions: Sequence[int]) -> tuple[Inputs | None, Mapping[int, str]]:
        """The inputs of the readable ones, in order, and the reason for each of the others.

        Returns:
            Inputs (None where nothing could be read) and ``{index in positions: reason}``.
        """
        ...

    def preview(self, position: int) -> Preview:
        """The sample as a person would want to see it; at most some kilobytes.

        Raises:
            Unreadable: It cannot be read.
        """
        ...

    def file(self, position: int) -> Path | bytes | None:
        """The file that the sample was read from; None where samples are not files.

        Returns:
            Its path, or its bytes where it lies in an archive or bucket.

        Raises:
            Unreadable: It cannot be had.
        """
        ...


@runtime_checkable
class Uneven(Protocol):
    """A reader of samples that differ in length, so that a batch is padded to its longest."""

    def lengths(self, positions: Int64[Tensor, " m"]) -> Int64[Tensor, " m"] | None:
        """About how long each is, in any unit; None where that is not known without reading them."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples, read."""

    rows: Int64[Tensor, " b"]
    """Which rows of the ``Samples`` these are."""
    inputs: Inputs
    labels: Shaped[Tensor, "b ..."]
    quarantined: Mapping[int, str]
    """``{row: reason}`` of the samples that were asked for but could not be read."""

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs; of texts the characters."""
        if isinstance(self.inputs, list):
            return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in self.inputs)
        return sum(tensor.nbytes for tensor in _tensors(self.inputs))

    def split(self, size: int) -> "list[Batch]":
        """The same in batches of at most ``size``; the quarantined ones stay with the first."""
        if len(self.rows) <= size:
            return [self]
        parts = []
        for start in range(0, len(self.rows), size):
            here = slice(start, start + size)
            inputs = self.inputs
            if isinstance(inputs, dict):
                inputs = {name: tensor[here] for name, tensor in inputs.items()}
            elif inputs is not None:
                inputs = inputs[here]
            lost = self.quarantined if start == 0 else {}
            parts.append(Batch(self.rows[here], inputs, self.labels[here], lost))
        return parts

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; from pinned memory this does not block."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(self, inputs=_each(self.inputs, move), labels=move(self.labels))

    def pin_memory(self) -> "Batch":
        """The same in pinned memory; called by ``torch.utils.data.DataLoader``."""
        return replace(self, inputs=_each(self.inputs, Tensor.pin_memory), labels=self.labels.pin_memory())


@dataclass(frozen=True, slots=True)
class Samples:
    """A dataset as a table: ids, labels, and a reader for the inputs.

    Raises:
        DataError: Lengths differ, an id occurs twice, a label is not of its type, or there is no sample at
            all.
    """

    ids: pa.StringArray
    """Unique and stable, [n]."""
    positions: Int64[Tensor, " n"]
    """The row of each sample in its source."""
    labels: Shaped[Tensor, "n ..."]
    """Class indices [n]; or 0/1 per class [n, k] (multi-label); or the targets of a regression; or what
    another ``label_type`` says."""
    classes: tuple[str, ...]
    """The class names, k of them; empty for a regression."""
    reader: Reader
    signature: str
    """What identifies the inputs beside ids and labels: a hash of the arrays, or of names and sizes."""
    truth: Shaped[Tensor, "n ..."] | None = None
    """The true labels, where known; used only to evaluate."""
    label_type: LabelType = field(default=None)  # type: ignore[assignment]
    """What kind of labels these are; inferred from their dtype and the classes where left out."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.label_type is None:
            object.__setattr__(self, "label_type", inferred(self.labels, self.classes))
        if n == 0:
            raise DataError("the dataset is empty", expected="at least one sample")
        for name in ("positions", "labels", "truth"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise DataError(f"{n} ids but {len(column)} {name}")
        self._check_ids()
        self.label_type.check(self.labels, self.classes, self.ids, "label")
        if self.truth is not None:
            self.label_type.check(self.truth, self.classes, self.ids, "truth")

    @classmethod
    def of(
        cls, dataset: Any, labels: Any = None, classes: Any = None, ids: Any = None, truth: Any = None
    ) -> "Samples":
        """The samples of an object in memory.

        Labels that are whole numbers, booleans or texts are classes: one a sample [n], or 0 and 1 per class
        [n, k]. Labels that are floats are numbers to be predicted, unless class names are given.

        Args:
            dataset: A numpy array or tensor [n, ...], where ``uint8`` means pixels; a mapping of names to
                such arrays; a list of texts; a pandas DataFrame, whose columns of numbers are the inputs; a
                ``datasets.Dataset``; or any map-style dataset whose items are (inputs, label), mappings with
                a ``label``, or inputs alone. Inputs are tensors, mappings of tensors, or texts.
            labels: One a sample, or the name of their column; the dataset's own where left out.
            classes: The class names in the order of the model's outputs, or how many there are; the
                dataset's own, or those that occur, where left out.
            ids: Unique and stable, one a sample, or the name of their column; row numbers where left out.
            truth: The true classes, or the name of their column; used only to evaluate.

        Raises:
            DataError: These are no samples, or the labels are missing.
        """
        module = import_module("ogacli.data.in_memory")  # it builds on this one
        found: Samples = module.samples_of(dataset, labels, classes, ids, truth)
        return found

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def class_index(self) -> Int64[Tensor, " n"] | None:
        """The labels where each sample has exactly one class, None otherwise."""
        return self.labels if isinstance(self.label_type, OneClass) else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, labels, class names and the signature of the inputs."""
        digest = hashlib.sha256(self.signature.encode())
        for name in self.classes:
            digest.update(name.encode() + b"\0")
        for chunk in (self.ids.slice(i, 65536) for i in range(0, len(self), 65536)):
            digest.update("\0".join(chunk.to_pylist()).encode())
        for column in (self.labels, self.truth):
            if column is not None:
                digest.update(column.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def read(self, rows: Sequence[int]) -> Batch:
        """Read some rows; those that cannot be read are left out and named in ``quarantined``."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        inputs, failures = self.reader.read(self.positions[index].tolist())
        if failures:
            readable = torch.tensor([i not in failures for i in range(len(index))])
            quarantined = {int(index[i]): reason for i, reason in failures.items()}
            index = index[readable]
        else:
            quarantined = {}
        return Batch(index, inputs, self.labels[index], quarantined)

    def lengths(self, rows: Int64[Tensor, " m"]) -> Int64[Tensor, " m"] | None:
        """About how long these are, where they differ and it is known without reading them."""
        return self.reader.lengths(self.positions[rows]) if isinstance(self.reader, Uneven) else None

    def longest_first(self, rows: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """The rows in an order that pads little and asks for the most memory first."""
        lengths = self.lengths(rows)
        return rows if lengths is None else rows[lengths.argsort(descending=True, stable=True)]

    def select(self, rows: Int64[Tensor, " m"]) -> "Samples":
        """The samples of these rows, in this order."""
        return replace(
            self,
            ids=self.ids.take(pa.array(rows.numpy())),
            positions=self.positions[rows],
            labels=self.labels[rows],
            truth=None if self.truth is None else self.truth[rows],
        )

    def _check_ids(self) -> None:
        if self.ids.null_count:
            raise DataError("an id is missing", place=f"row {self.ids.is_null().index(True).as_py()}")
        counts = self.ids.value_counts()
        repeated = counts.filter(pa.compute.greater(counts.field("counts"), 1))
        if len(repeated):
            raise DataError(
                f"{len(repeated)} ids occur more than once",
                found=", ".join(repr(name) for name in repeated.field("values")[:5].to_pylist()),
                expected="unique ids",
                hint="name a column of unique values as `id`, or leave `id` out to number the samples",
            )


def numbered(n: int) -> pa.StringArray:
    """Ids for samples that have none: ``"0"``, ``"1"``, .."""
    return pa.array(np.arange(n)).cast(pa.string())


def _each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with each tensor changed; texts stay as they are."""
    if isinstance(inputs, dict):
        return {name: change(tensor) for name, tensor in inputs.items()}
    return change(inputs) if isinstance(inputs, Tensor) else inputs


def _tensors(inputs: Inputs) -> list[Tensor]:
    if inputs is None:
        return []
    return list(inputs.values()) if isinstance(inputs, dict) else [inputs]
