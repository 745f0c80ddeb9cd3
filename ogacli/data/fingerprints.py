"""Fingerprints of samples: 64 bits that change when the inputs or the label of a sample do.

In: inputs as a network is called with them, and labels. Out: an integer a sample, which depends neither on
the batch nor on the device. All values are looked at. A fingerprint finds changes; it is no protection
against somebody who constructs inputs of a given fingerprint.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

_WIDTH = 1 << 12
"""Values that are multiplied with integers of their own; the next ones begin again, with another factor."""
_AT_ONCE = 1 << 16
"""Labels of several classes that are compared at a time, so that the results stay in the caches of a core."""
_AT_ONCE_GPU = 1 << 27
"""On a GPU: 1 GiB of products."""
_LABEL = 0x2545F4914F6CDD1D
"""Keeps the fingerprint of a label apart from that of inputs."""


def input_fingerprints(inputs: Any) -> Int64[Tensor, " b"]:
    """A hash of each sample's inputs; never 0, which marks samples that were not read.

    Args:
        inputs: A tensor [b, ...], a mapping of names to such tensors (values that the attention mask leaves
            out do not count), or a list of texts or of tuples of tensors, the first of which is the input.
    """
    if are_labelled(inputs):
        return _read(torch.stack([_of_tensors(one[:1]) for one in inputs]))
    if isinstance(inputs, list):
        return _read(torch.tensor([text_fingerprint(text) for text in inputs], dtype=torch.int64))
    if isinstance(inputs, dict):
        named = zip(sorted(inputs), unpadded(inputs), strict=True)
        parts = [_sum(part) * (text_fingerprint(name) | 1) for name, part in named]
        return _read(torch.stack(parts).sum(0))
    return _sum(flat(inputs))


def label_fingerprints(labels: Shaped[Tensor, "n ..."], classes: Sequence[str]) -> Int64[Tensor, " n"]:
    """A hash of each label: of class names, in whatever order classes are; or of numbers."""
    if not labels[:1].numel():
        return torch.zeros(len(labels), dtype=torch.int64)
    names = torch.tensor([text_fingerprint(name) for name in classes], dtype=torch.int64)
    if classes and not labels.is_floating_point() and labels.ndim == 1:
        return names[labels] * _LABEL
    if classes and not labels.is_floating_point() and labels.ndim == 2:
        known = labels >= 0
        return _sum(names[labels.where(known, 0).long()] * known) * _LABEL
    if classes and labels.ndim == 2 and labels.shape[1] == len(classes):
        return torch.cat([(part != 0).long() @ names for part in labels.split(_AT_ONCE)]) * _LABEL
    return _sum(flat(labels)) * _LABEL


def read_label_fingerprints(inputs: Any, labels: Shaped[Tensor, "b ..."]) -> Int64[Tensor, " b"]:
    """A hash of each label that is read with the inputs, such as a mask or the boxes of a picture.

    Args:
        inputs: As they are read.
        labels: As they are read; where inputs are tuples of tensors, those after the first are the label.
    """
    if are_labelled(inputs):
        return torch.stack([_of_tensors(one[1:]) for one in inputs]) * _LABEL
    return _sum(flat(labels)) * _LABEL


def are_labelled(inputs: Any) -> bool:
    """Whether inputs are tuples of tensors, whose first one is the input and whose others are the label."""
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    return isinstance(first, tuple) and all(isinstance(part, Tensor) for part in first)


def flat(inputs: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "b v"]:
    """The values of each sample in one row."""
    return inputs.reshape(len(inputs), -1)  # flatten(1) refuses one number a sample


def unpadded(inputs: dict[str, Tensor]) -> Iterator[Shaped[Tensor, "b v"]]:
    """The tensors of a tokenized text, with padding set to zero."""
    mask = inputs.get("attention_mask")
    for name in sorted(inputs):
        part = flat(inputs[name])
        yield part * mask if mask is not None and part.shape == mask.shape else part


def _of_tensors(parts: Sequence[Tensor]) -> Int64[Tensor, ""]:
    """A hash of the shapes and values of several tensors."""
    hashes = [text_fingerprint(list(part.shape)) + _sum(part.reshape(1, -1)).cpu() for part in parts]
    return torch.stack([found[0] * (2 * place + 1) for place, found in enumerate(hashes)]).sum()


def text_fingerprint(text: object) -> int:
    """A hash of a text, or of something else as Python writes it."""
    written = repr(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(written, digest_size=8).digest(), "little", signed=True)


def _sum(values: Shaped[Tensor, "b v"]) -> Int64[Tensor, " b"]:
    """The bits of the values as integers, times fixed odd integers, summed; overflow is dropped.

    So a change of a single value always changes the sum, and zeros at the end, which may be padding, do not.
    """
    values, size = values.contiguous(), values.element_size()
    if values.is_complex():
        values = flat(torch.view_as_real(values))
        size //= 2
    if values.is_floating_point():
        values = values.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size])
    values = values.to(torch.int64 if size == 8 else torch.int32)
    if values.device.type != "cpu":
        whole = _of_row(values.shape[1], values.device)
        some = values.split(max(1, _AT_ONCE_GPU // max(1, values.shape[1])))
        sums = [(part * whole).sum(1) for part in some]
        return _read(sums[0] if len(sums) == 1 else torch.cat(sums))
    rows, weights = values.numpy(), _weights().numpy()
    total = np.zeros(len(rows), np.int64)
    for number, start in enumerate(range(0, rows.shape[1], _WIDTH)):
        part = rows[:, start : start + _WIDTH]
        # Unlike a product in torch this makes no copy of the values, and takes a third of the time.
        sums = np.einsum("bv,v->b", part, weights[: part.shape[1]])
        total += sums * weights[number % _WIDTH] if number else sums
    return _read(torch.from_numpy(total))


def _read(found: Int64[Tensor, " b"]) -> Int64[Tensor, " b"]:
    return found + (found == 0)


@lru_cache
def _of_row(count: int, device: torch.device) -> Int64[Tensor, " v"]:
    """The factors of all values of a sample, on a device."""
    weights, place = _weights(), torch.arange(count)
    first = place < _WIDTH
    with torch.inference_mode(False):
        factors = torch.where(first, 1, weights[place // _WIDTH % _WIDTH])
        return (weights[place % _WIDTH] * factors).to(device)


@lru_cache
def _weights() -> Int64[Tensor, " w"]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-(1 << 62), 1 << 62, (_WIDTH,), generator=generator) * 2 + 1
