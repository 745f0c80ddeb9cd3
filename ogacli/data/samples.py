"""``Samples``: ids, labels and class names of a dataset in memory, and the reader of its inputs.

Row i of everything belongs to the sample ``ids[i]``. A row's *position* is its row in the source; row and
position differ only where the config selects a part of the source.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from ogacli.base.arrow import numbers
from ogacli.base.blocks import blocks, numbered
from ogacli.base.tables.columns import Columns
from ogacli.base.wording import listed
from ogacli.data.ids import Ids, check_ids, joined
from ogacli.data.in_memory import parts_of
from ogacli.data.labels import ClassOrder, Targets
from ogacli.data.labels.annotations import Annotations, annotated_by_columns, class_names, voices_of
from ogacli.data.labels.label_types import LabelType, Numbers, OneClass, inferred
from ogacli.data.reading import Batch, Reader
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError


@dataclass(frozen=True, slots=True)
class Samples:
    """A dataset as a table: ids, labels, and a reader for the inputs.

    Raises:
        DataError: Lengths differ, an id occurs twice, a label is not of its type, or there is no sample.
    """

    ids: Ids
    positions: Int64[Tensor, " n"]
    """The row of each sample in its source."""
    labels: Shaped[Tensor, "n ..."]
    """Class indices [n]; or 0/1 per class [n, k] (multi-label); or the targets of a regression; or in
    the form of another ``label_type``. Masks are not held: 1 for each class that occurs in them, [n, k]."""
    classes: tuple[str, ...]
    """The class names, k of them; empty for a regression."""
    reader: Reader
    signature: str
    """A text that differs when the inputs do: a hash of the arrays, or of names and sizes of files."""
    truth: Shaped[Tensor, "n ..."] | None = None
    """The true labels, where known; used only for evaluation."""
    label_type: LabelType = field(default=None)  # type: ignore[assignment]
    """The type of the labels; inferred from their dtype and the class names by default."""
    class_order: ClassOrder = "given"
    """Where the order of the classes comes from."""
    source_rows: int = 0
    """How many rows the source has; by default as many as the positions need."""
    origin: str = ""
    """The fingerprint of the dataset, where labels are no longer those of the dataset."""
    differs: Bool[Tensor, " n"] | None = None
    """Which labels are not the true ones, where ``labels`` and ``truth`` do not show it."""
    columns: Columns | None = None
    """The use of the columns of a table; None where the samples are not rows of one."""
    weights: Float[Tensor, " n"] | None = None
    """How much the loss of each counts in a training, relative to the mean; None: all the same."""
    annotations: Annotations | None = None
    """The labels of several annotators, whose consensus is the label; None where samples have one label."""
    _fingerprint: str = field(default="", init=False, repr=False, compare=False)
    """Once it is computed."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.label_type is None:
            object.__setattr__(self, "label_type", inferred(self.labels, self.classes))
        if n == 0:
            raise DataError("the dataset is empty", expected="at least one sample")
        for name in ("positions", "labels", "truth", "differs", "weights"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise DataError(f"{n} ids but {len(column)} {name}")
        if not self.source_rows:
            object.__setattr__(self, "source_rows", 1 + int(self.positions.max()))
        check_ids(self.ids)
        self.label_type.check(self.labels, self.classes, self.ids, "label")
        if self.truth is not None:
            self.label_type.check(self.truth, self.classes, self.ids, "truth")

    @classmethod
    def of(
        cls,
        dataset: Any,
        labels: Any = None,
        classes: Any = None,
        ids: Any = None,
        truth: Any = None,
        *,
        annotators: Mapping[str, Any] | None = None,
    ) -> "Samples":
        """The samples of an object in memory.

        Labels that are whole numbers, booleans or texts are classes: one a sample [n], or 0 and 1 per class
        [n, k]. Labels that are floats are numbers to be predicted, unless class names are given. Whole
        numbers [n, h, w] are masks: the class of each pixel, -100 where there is none. Mappings with
        ``boxes`` [m, 4] and ``labels`` [m] are boxes, in the form of torchvision's detectors: corners in
        pixels, and classes from 1, as label 0 is the background.

        Args:
            dataset: A numpy array or tensor [n, ...], where ``uint8`` means pixels; a mapping of names to
                such arrays; a list of texts; a pandas DataFrame, whose columns of numbers are the inputs
                (``columns`` of the result lists them); a ``datasets.Dataset``; or any map-style dataset whose
                items are (inputs, label), mappings with a ``label``, or inputs alone. Inputs are tensors,
                mappings of tensors, or texts.
            labels: One a sample, or the name of their column; by default those that the dataset holds.
            classes: The class names in the order of the model's outputs, or their number; by default
                those that the dataset holds, or those that occur.
            ids: Unique and stable, one a sample, or the name of their column; by default row numbers.
            truth: The true labels, or the name of their column; used only for evaluation.
            annotators: In place of ``labels``: the labels that each of several annotators gave, by name, with
                None where there is none. The label of a sample is their consensus.

        Raises:
            DataError: The dataset is of no known kind, or labels are missing or do not fit.
        """
        with DataError.within("Samples.of"):
            if annotators is None:
                return cls.from_targets(*parts_of(dataset, labels, classes, ids, truth))
            if labels is not None:
                raise DataError("give either `labels` or `annotators`", found="both")
            voices = voices_of(annotators)
            names = class_names(list(voices.values())) if classes is None else classes
            none = np.zeros(len(next(iter(voices.values()), ())), dtype=np.int64)
            samples = cls.from_targets(*parts_of(dataset, none, names, ids, truth))
            return annotated_by_columns(samples, voices)

    @classmethod
    def from_targets(
        cls,
        ids: Ids,
        targets: Targets,
        reader: Reader,
        signature: str,
        columns: Columns | None = None,
        label_type: LabelType | None = None,
    ) -> "Samples":
        """All rows of a source.

        Args:
            ids: One a row.
            targets: The labels and what they mean.
            reader: Of the inputs, by row.
            signature: A text that differs when the inputs do.
            columns: The use of the columns of a table.
            label_type: The type of the labels; inferred where left out.

        Raises:
            DataError: As for the class.
        """
        if targets.notes:
            columns = columns or Columns()
            columns = replace(columns, notes=(*columns.notes, *targets.notes))
        return cls(
            ids=ids,
            positions=torch.from_numpy(numbered(len(ids))),
            labels=targets.labels,
            classes=targets.classes,
            reader=reader,
            signature=signature,
            truth=targets.truth,
            label_type=label_type,  # type: ignore[arg-type]
            class_order=targets.class_order,
            differs=targets.differs,
            columns=columns,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def class_index(self) -> Int64[Tensor, " n"] | None:
        """The labels where each sample has exactly one class, None otherwise."""
        return self.labels if isinstance(self.label_type, OneClass) else None

    @property
    def wrong(self) -> Bool[Tensor, " n"] | None:
        """Whether each label is not the true one; None where the truth is not known."""
        if self.truth is None or self.differs is not None:
            return self.differs
        same = self.labels == self.truth
        if isinstance(self.label_type, Numbers):
            same = self.labels.isclose(self.truth)
        return ~same.reshape(len(self), -1).all(1)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, labels, class names and the signature of the inputs."""
        if self.origin:
            return self.origin
        if self._fingerprint:
            return self._fingerprint
        digest = hashlib.sha256(self.signature.encode())
        for name in self.classes:
            digest.update(name.encode() + b"\0")
        for part in joined(self.ids):
            digest.update(part)
        given = self.annotations
        annotations = () if given is None else (given.annotator, given.labels)
        for column in (self.labels, self.truth, self.differs, *annotations):
            if column is not None:
                for block in blocks(len(column)):
                    digest.update(column[block].contiguous().numpy().data)
        object.__setattr__(self, "_fingerprint", digest.hexdigest())
        return self._fingerprint

    def read(self, rows: Sequence[int]) -> Batch:
        """Read some rows; those that cannot be read are in ``quarantined`` instead."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        inputs, labels, failures = self.reader.with_labels(self.positions[index].tolist())
        if failures:
            readable = torch.tensor([i not in failures for i in range(len(index))])
            quarantined = {int(index[i]): reason for i, reason in failures.items()}
            index = index[readable]
        else:
            quarantined = {}
        return Batch(index, inputs, self.labels[index] if labels is None else labels, quarantined)

    def read_one(self, row: int) -> Batch:
        """Read one row.

        Raises:
            Unreadable: It cannot be read.
        """
        batch = self.read([row])
        if not len(batch.rows):
            raise Unreadable(batch.quarantined[row])
        return batch

    def lengths(self, rows: Int64[Tensor, " m"]) -> Int64[Tensor, " m"] | None:
        """Approximate lengths, as in ``Reader.lengths``."""
        return self.reader.lengths(self.positions[rows])

    def longest_first(self, rows: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """The rows by descending length: batches need little padding, and the largest comes first."""
        lengths = self.lengths(rows)
        return rows if lengths is None else rows[lengths.argsort(descending=True, stable=True)]

    def select(self, rows: Int64[Tensor, " m"]) -> "Samples":
        """The samples of these rows, in this order."""
        return replace(
            self,
            ids=self.ids.take(numbers(rows.numpy())),
            positions=self.positions[rows],
            labels=self.labels[rows],
            truth=None if self.truth is None else self.truth[rows],
            origin="",
            differs=None if self.differs is None else self.differs[rows],
            weights=None if self.weights is None else self.weights[rows],
            annotations=None if self.annotations is None else self.annotations.select(rows),
        )


def check_samples(value: object, argument: str) -> None:
    """Check an argument of a Python function.

    Raises:
        DataError: It is a dataset of another library.
    """
    if not isinstance(value, Samples):
        raise DataError(
            "not samples",
            place=argument,
            found=type(value).__name__,
            expected="ogacli.Samples",
            hint="make them with ogacli.Samples.of(dataset, labels=..)",
        )


def check_features(samples: Samples, others: Samples, place: str) -> None:
    """Check that two tables have the same features in the same order.

    Args:
        samples: The training samples.
        others: Samples that the same network is applied to.
        place: The section of the others, for messages.

    Raises:
        DataError: They have others, or in another order; a network would take one for another.
    """
    expected, found = (tuple(getattr(one.reader, "columns", ())) for one in (samples, others))
    if expected and found and expected != found:
        more = [name for name in found if name not in expected]
        less = [name for name in expected if name not in found]
        raise DataError(
            "the features differ from those of the training samples",
            place=place,
            found=listed(more or found),
            expected=listed(less or expected),
            hint=f"name them in one order by `features` (and `categorical`), for both `data` and `{place}`",
        )
