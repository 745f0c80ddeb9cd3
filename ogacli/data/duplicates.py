"""Samples with bitwise equal inputs but different labels.

In: the fingerprints of the inputs and of the label of each sample. Out: for each such sample, another one
with the same inputs. Fingerprints of different inputs can be equal by chance, so samples with equal
fingerprints are read again and compared by a cryptographic digest.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from ogacli.data.fingerprints import are_labelled, flat, unpadded
from ogacli.data.images.quality import are_pictures

Digests = tuple[Sequence[int], Sequence[bytes], Sequence[bytes]]
"""Rows that can be read, and the cryptographic digests of their inputs and of their labels."""
_FEWEST = 16
"""Inputs with fewer values are never blank."""
_AT_A_TIME = 512
"""Samples that are read again at a time."""


def blank(inputs: Any) -> Bool[Tensor, " b"]:
    """Whether all values of a sample are equal; of a picture those of each channel: it has one colour."""
    if not isinstance(inputs, Tensor) or inputs[:1].numel() < _FEWEST:
        return torch.zeros(len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)).bool()
    values = inputs.flatten(2) if are_pictures(inputs) else inputs.flatten(1)[:, None]
    if values.device.type != "cpu":  # to look for those that need a second look would stall it
        return _equal(values)
    found = _equal(values[..., :_FEWEST])
    here = found.nonzero()[:, 0]
    if len(here):
        found[here] = _equal(values[here])
    return found


def _equal(values: Shaped[Tensor, "b c v"]) -> Bool[Tensor, " b"]:
    return (values == values[..., :1]).flatten(1).all(1)


def contents(inputs: Any) -> list[bytes]:
    """A cryptographic digest of each sample's inputs."""
    if are_labelled(inputs):
        return [_digest(one[:1]) for one in inputs]
    if isinstance(inputs, list):
        return [hashlib.blake2b(_written(one)).digest() for one in inputs]
    parts = list(unpadded(inputs)) if isinstance(inputs, dict) else [flat(inputs)]
    rows = zip(*(part.cpu() for part in parts), strict=True)
    return [hashlib.blake2b(b"|".join(map(_trimmed, row))).digest() for row in rows]


def label_contents(inputs: Any, labels: Shaped[Tensor, "b ..."]) -> list[bytes]:
    """A cryptographic digest of each sample's label; that of boxes does not depend on their order.

    Args:
        inputs: As they are read.
        labels: As they are read; where inputs are tuples of tensors, those after the first are the label.
    """
    if not are_labelled(inputs):
        return contents(labels)
    parts = [torch.column_stack([part.double() for part in one[1:]]) for one in inputs]
    return [_digest([torch.tensor(sorted(rows.tolist()))]) for rows in parts]


def conflicts(
    marks: Int64[Tensor, " n"], labels: Shaped[Tensor, "n ..."], read: Callable[[Sequence[int]], Digests]
) -> Int64[Tensor, " n"]:
    """For each sample the first sample with the same inputs and another label; -1 where there is none.

    Args:
        marks: Fingerprints of the inputs; 0 for samples that were not read.
        labels: The given labels, or their fingerprints.
        read: Tells of samples with the same fingerprint whether inputs and labels are the same.
    """
    found = torch.full((len(marks),), -1)
    if not labels[:1].numel():
        return found
    codes = torch.unique(labels, dim=0, return_inverse=True)[1]
    suspects = _of_several_labels(marks, codes)
    groups: dict[bytes, list[tuple[int, bytes]]] = {}
    for some in suspects.split(_AT_A_TIME) if len(suspects) else ():
        for row, same, label in zip(*read(some.tolist()), strict=True):
            groups.setdefault(same, []).append((row, label))
    for group in groups.values():
        (first, given), *_ = group
        other = next((row for row, label in group if label != given), None)
        if other is not None:
            for row, label in group:
                found[row] = other if label == given else first
    return found


def _of_several_labels(marks: Int64[Tensor, " n"], codes: Int64[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """The rows whose fingerprint occurs with more than one label, ascending."""
    rows = marks.nonzero()[:, 0]
    group = torch.unique(marks[rows], return_inverse=True)[1]
    if not len(group):
        return rows
    least = torch.full((int(group.max()) + 1,), len(codes)).scatter_reduce_(0, group, codes[rows], "amin")
    most = torch.full_like(least, -1).scatter_reduce_(0, group, codes[rows], "amax")
    return rows[(least < most)[group]]


def _trimmed(row: Tensor) -> bytes:
    """The bytes of a row without zeros at its end, which may be padding."""
    return bytes(row.contiguous().view(torch.uint8).numpy()).rstrip(b"\0")


def _digest(parts: Sequence[Tensor]) -> bytes:
    """Of the shapes and values of several tensors."""
    written = (repr(list(part.shape)).encode() + part.cpu().numpy().tobytes() for part in parts)
    return hashlib.blake2b(b"|".join(written)).digest()


def _written(one: object) -> bytes:
    """A text, or a pair of them."""
    return repr(one).encode("utf-8", "surrogatepass")
