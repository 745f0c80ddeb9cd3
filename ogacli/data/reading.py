"""Reading samples: ``Reader``, which a source brings, and ``Batch``, which a scan gets.

In: positions, the rows of a source. Out: the inputs of the samples there, in a form that a network is called
with, and the reason for each sample that cannot be read.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from ogacli.data.fingerprints import are_labelled
from ogacli.data.unreadable import Unreadable

Inputs = Any
"""What the network is called with: a tensor [b, ...], a mapping of names to tensors [b, ...], or a list of b
texts, pairs of texts, or named tuples of tensors: the input, and the parts of its label."""


@dataclass(frozen=True, slots=True)
class Preview:
    """How a sample is shown in a report: a picture (PNG bytes), text, or weighted parts of a text."""

    kind: str
    """``image``, ``text``, or ``tokens``: a JSON list of ``[text, share of the loss]``."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Errors:
    """The parts of a label that are not those of the true one: regions of a mask, or boxes."""

    given: Int64[Tensor, " e"]
    """The given class of each; -1 of a box that is missing."""
    boxes: Float[Tensor, "e 4"]
    """Left, top, right and bottom; of a missing box those of the true one."""


class Reader(ABC):
    """Reads samples by position. Readers are sent to worker processes and must pickle.

    A subclass brings ``read`` and ``preview``; the other methods have defaults.
    """

    in_memory: bool = False
    """True where reading is a look-up in memory, so that worker processes would gain nothing."""

    @abstractmethod
    def read(self, positions: Sequence[int]) -> tuple[Inputs | None, Mapping[int, str]]:
        """The inputs of the readable samples, in order, and the reason for each of the others.

        Returns:
            Inputs (None where no sample can be read) and ``{index in positions: reason}``.
        """

    def with_labels(
        self, positions: Sequence[int]
    ) -> tuple[Inputs | None, Shaped[Tensor, "b ..."] | None, Mapping[int, str]]:
        """As ``read``, with the labels of the readable samples where these are read with the inputs.

        Returns:
            In the middle the labels; None where ``Samples`` hold them in memory.
        """
        inputs, failures = self.read(positions)
        return inputs, None, failures

    @abstractmethod
    def preview(self, position: int) -> Preview:
        """The sample in the form that a report shows; at most some kilobytes.

        Raises:
            Unreadable: It cannot be read.
        """

    def file(self, position: int) -> Path | bytes | None:
        """The file that the sample was read from; None where samples are not files.

        Returns:
            Its path, or its bytes where it is a member of an archive or lies in a bucket.

        Raises:
            Unreadable: It cannot be read.
        """
        return None

    def errors(self, position: int) -> Errors:
        """The errors of a label that is read with the input, by the true one where it is known."""
        return Errors(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))

    def words(self, position: int) -> Sequence[str]:
        """The words of a sample whose label is a tag a word; none of other samples."""
        return ()

    def with_missing(self) -> "Reader | None":
        """A reader that returns samples with missing values, as NaN; None where samples have none."""
        return None

    def picture_sizes(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m 2"] | None:
        """Width and height of some pictures before any transform, as far as they were read; NaN elsewhere.

        Returns:
            None where samples are not files of pictures.
        """
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user on what was found beside the samples, and on what was done to them."""
        return ()

    @property
    def others(self) -> Sequence[str]:
        """Files beside the samples that are none, as ``class/name``; they are handed on unchanged."""
        return ()

    def other_file(self, name: str) -> Path | bytes:
        """One of the ``others``: its path, or its bytes where it has none.

        Raises:
            Unreadable: It cannot be read.
        """
        raise Unreadable("no such file")

    def lengths(self, positions: Int64[Tensor, " m"]) -> Int64[Tensor, " m"] | None:
        """The approximate length of each sample, in any unit.

        Returns:
            None where all samples have one length, or lengths are unknown before the samples are read.
        """
        return None


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that were read together."""

    rows: Int64[Tensor, " b"]
    """Which rows of the ``Samples`` these are."""
    inputs: Inputs
    labels: Shaped[Tensor, "b ..."]
    quarantined: Mapping[int, str]
    """``{row: reason}`` of the samples that could not be read."""

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs; for texts, their characters."""
        if isinstance(self.inputs, list) and not are_labelled(self.inputs):
            return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in self.inputs)
        return sum(tensor.nbytes for tensor in _tensors(self.inputs))

    def split(self, size: int) -> "list[Batch]":
        """The same samples in batches of at most ``size``; the first keeps the quarantined ones."""
        if len(self.rows) <= size:
            return [self]
        parts = []
        for start in range(0, len(self.rows), size):
            part = itemgetter(slice(start, start + size))
            inputs = part(self.inputs) if isinstance(self.inputs, list) else _each(self.inputs, part)
            lost = self.quarantined if start == 0 else {}
            parts.append(Batch(part(self.rows), inputs, part(self.labels), lost))
        return parts

    def to(self, device: torch.device) -> "Batch":
        """A copy on a device; from pinned memory the transfer does not block."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(self, inputs=_each(self.inputs, move), labels=move(self.labels))

    def pin_memory(self) -> "Batch":
        """A copy in pinned memory; called by ``torch.utils.data.DataLoader``."""
        return replace(self, inputs=_each(self.inputs, Tensor.pin_memory), labels=self.labels.pin_memory())


def _each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with each tensor changed; texts are unchanged."""
    if isinstance(inputs, dict):
        return {name: change(tensor) for name, tensor in inputs.items()}
    if are_labelled(inputs):
        return [type(one)(*map(change, one)) for one in inputs]
    return change(inputs) if isinstance(inputs, Tensor) else inputs


def _tensors(inputs: Inputs) -> list[Tensor]:
    if inputs is None:
        return []
    if isinstance(inputs, list):
        return [tensor for one in inputs for tensor in one]
    return list(inputs.values()) if isinstance(inputs, dict) else [inputs]
