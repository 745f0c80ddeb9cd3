"""The types of labels: one class a sample, several classes, a class a pixel or a word, or numbers.

In: a tensor of labels with a row a sample, and the class names. Out: a check of every label, the labels by
name, counts by class, and the number of logits of a new network. A source of another type of label brings its
own subclass.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from ogacli.base.arrow import numbers, texts
from ogacli.data.ids import refuse
from ogacli.errors import DataError

Labels = Shaped[Tensor, "n ..."]
IGNORED = -100
"""In the place of a class: there is none. Losses leave it out, as those of torch do."""


class LabelType(ABC):
    """One type of label. It has no state: the labels are passed to each method."""

    held: ClassVar[bool] = True
    """Whether ``Samples.labels`` are the labels themselves. Else they are read with the inputs, and
    ``Samples.labels`` tell which classes occur in them."""

    @abstractmethod
    def check(self, labels: Labels, classes: Sequence[str], ids: pa.StringArray, noun: str) -> None:
        """Check every label.

        Args:
            labels: A row a sample.
            classes: The class names; empty where there are no classes.
            ids: Of the samples, for the message.
            noun: The name of the labels in the message, such as ``label`` or ``truth``.

        Raises:
            DataError: A label is not of this type; the message names the first such sample.
        """

    @abstractmethod
    def column(self, labels: Labels, classes: Sequence[str]) -> pa.Array:
        """The labels as shown to users, such as class names, [n]."""

    @abstractmethod
    def counts(self, labels: Labels, classes: Sequence[str]) -> Int64[Tensor, " k"]:
        """The number of samples of each class; a sample with several classes counts in each of them."""

    def outputs(self, labels: Labels, classes: Sequence[str]) -> int:
        """The number of logits that a new network has for each sample; one a class unless overridden."""
        return len(classes)


class OneClass(LabelType):
    """The index of one class a sample, int64 [n]."""

    def check(self, labels: Labels, classes: Sequence[str], ids: pa.StringArray, noun: str) -> None:
        """Check that each label is a class index.

        Raises:
            DataError: A label is not.
        """
        k = len(classes)
        if labels.ndim != 1 or labels.is_floating_point():
            raise DataError(
                f"the {noun}s are not one class a sample",
                found=f"{list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}",
                expected=f"class indices, [{len(labels)}]",
                hint="a source of another kind of label passes its own `label_type` to Samples",
            )
        check_rows((labels >= 0) & (labels < k), labels, ids, noun, f"0 to {k - 1} ({k} classes)")

    def column(self, labels: Labels, classes: Sequence[str]) -> pa.Array:
        """Class names."""
        return texts(classes).take(numbers(labels.numpy()))

    def counts(self, labels: Labels, classes: Sequence[str]) -> Int64[Tensor, " k"]:
        """The number of samples of each class."""
        return labels.bincount(minlength=len(classes))


class _Floats(LabelType):
    def check(self, labels: Labels, classes: Sequence[str], ids: pa.StringArray, noun: str) -> None:
        """Check that each label is finite.

        Raises:
            DataError: A label is not.
        """
        check_rows(labels.isfinite().reshape(len(labels), -1).all(1), labels, ids, noun, "finite numbers")


class SeveralClasses(_Floats):
    """0 or 1 for each class, float [n, k]."""

    def column(self, labels: Labels, classes: Sequence[str]) -> pa.Array:
        """Lists of class names."""
        lists = [[classes[i] for i in row.nonzero()[:, 0].tolist()] for row in labels]
        return pa.array(lists, pa.list_(pa.string()))

    def counts(self, labels: Labels, classes: Sequence[str]) -> Int64[Tensor, " k"]:
        """The number of samples in which each class occurs."""
        return labels.double().sum(0).long()


class PixelClasses(SeveralClasses):
    """A class a pixel; masks are read with the inputs, and 1 for each class that occurs is held, [n, k]."""

    held = False


class WordClasses(LabelType):
    """The class index of each word, int [n, w]; ``IGNORED`` after the last word of a sample."""

    def check(self, labels: Labels, classes: Sequence[str], ids: pa.StringArray, noun: str) -> None:
        """Check that each tag is a class index, or ``IGNORED``.

        Raises:
            DataError: One is not.
        """
        good = (labels == IGNORED) | ((labels >= 0) & (labels < len(classes)))
        expected = f"0 to {len(classes) - 1} ({len(classes)} classes), or {IGNORED}"
        check_rows(good.all(1), labels, ids, noun, expected)

    def column(self, labels: Labels, classes: Sequence[str]) -> pa.Array:
        """Lists of class names, one a word."""
        known = labels != IGNORED
        names = texts(classes).take(numbers(labels[known].long().numpy()))
        ends = torch.cat([torch.zeros(1, dtype=torch.int64), known.sum(1).cumsum(0)])
        return pa.ListArray.from_arrays(pa.array(ends.numpy(), pa.int32()), names)

    def counts(self, labels: Labels, classes: Sequence[str]) -> Int64[Tensor, " k"]:
        """The number of samples in which each class occurs."""
        found = torch.zeros(len(labels), len(classes) + 1, dtype=torch.bool)
        found.scatter_(1, labels.long().where(labels != IGNORED, len(classes)), True)
        return found[:, :-1].sum(0)


class Numbers(_Floats):
    """The targets of a regression, float [n] or [n, k]; [n, 0] where samples have no label at all."""

    def column(self, labels: Labels, classes: Sequence[str]) -> pa.Array:
        """A number a sample, a list where it has several targets, null where it has none."""
        targets = self.outputs(labels, classes)
        if targets == 1:
            return numbers(labels.flatten().numpy())
        return pa.array(labels.tolist()) if targets else pa.nulls(len(labels), pa.string())

    def counts(self, labels: Labels, classes: Sequence[str]) -> Int64[Tensor, " k"]:
        """Empty, as there are no classes."""
        return torch.zeros(0, dtype=torch.int64)

    def outputs(self, labels: Labels, classes: Sequence[str]) -> int:
        """One logit a target."""
        return 1 if labels.ndim == 1 else labels.shape[1]


def inferred(labels: Labels, classes: Sequence[str]) -> LabelType:
    """Integers are class indices, those of a matrix one a word.

    Floats are 0 or 1 for each class where there are classes, else numbers.
    """
    if not labels.is_floating_point():
        return WordClasses() if labels.ndim == 2 else OneClass()
    return SeveralClasses() if classes else Numbers()


def check_rows(
    good: Bool[Tensor, " n"], labels: Labels, ids: pa.StringArray, noun: str, expected: str
) -> None:
    """Raise an error for the first sample whose label is not good.

    Args:
        good: Whether each label is good.
        labels: The labels.
        ids: Of the samples.
        noun: The name of the labels, such as ``label`` or ``truth``.
        expected: What a good label is.

    Raises:
        DataError: A label is not good.
    """
    bad = numbers((~good).numpy())
    refuse(bad, f"{noun} out of range", ids, labels, expected=expected)
