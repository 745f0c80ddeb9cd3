"""Samples whose inputs are the same to the last bit but whose labels differ.

In: batches as they stream by, of which 8 bytes a sample are kept. Out: for each such sample one that it is a
duplicate of. Fingerprints may be the same by chance; what they claim is therefore read once more in the end.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

_LOOKED_AT = 64
"""Values of a sample that its fingerprint is made of, at least, evenly spread."""
_FEWEST = 16
"""Inputs of fewer values are not called blank."""
_AT_A_TIME = 512
"""Samples that are read once more at a time."""


def fingerprints(inputs: Any) -> Int64[Tensor, " b"]:
    """A number for each sample; the same for the same inputs, in whatever batch they come."""
    if isinstance(inputs, list):
        digests = [hashlib.blake2b(_written(text), digest_size=8).digest() for text in inputs]
        return torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests])
    if isinstance(inputs, dict):
        return torch.stack([_sum(part[:, : 1 << 12]) for part in _unpadded(inputs)]).sum(0)
    flat = inputs.flatten(1)
    return _sum(flat[:, :: max(1, flat.shape[1] // _LOOKED_AT)])


def blank(inputs: Any) -> Bool[Tensor, " b"]:
    """Which samples have the same value everywhere, as a picture of one colour has."""
    if not isinstance(inputs, Tensor) or inputs[:1].numel() < _FEWEST:
        return torch.zeros(len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)).bool()
    flat = inputs.flatten(1)
    found = (flat[:, :_FEWEST] == flat[:, :1]).all(1)
    here = found.nonzero()[:, 0]
    if len(here):
        found[here] = (flat[here] == flat[here, :1]).all(1)
    return found


def contents(inputs: Any) -> list[bytes]:
    """A cryptographic digest of each sample's inputs; the same only where they are the same."""
    if isinstance(inputs, list):
        return [hashlib.blake2b(_written(text)).digest() for text in inputs]
    parts = list(_unpadded(inputs)) if isinstance(inputs, dict) else [inputs.flatten(1)]
    rows = zip(*(part.cpu() for part in parts), strict=True)
    return [hashlib.blake2b(b"|".join(map(_trimmed, row))).digest() for row in rows]


def conflicts(
    marks: Int64[Tensor, " n"],
    labels: Shaped[Tensor, "n ..."],
    read: Callable[[Sequence[int]], tuple[Sequence[int], Sequence[bytes]]],
) -> Int64[Tensor, " n"]:
    """For each sample the first one of the same inputs that has another label; -1 where there is none.

    Args:
        marks: Fingerprints; 0 for samples that were not seen.
        labels: The given labels.
        read: From rows to those that can be read and the digests of their inputs.
    """
    found = torch.full((len(marks),), -1)
    if not labels[:1].numel():
        return found
    codes = torch.unique(labels, dim=0, return_inverse=True)[1]
    suspects = _of_several_labels(marks, codes)
    groups: dict[bytes, list[int]] = {}
    for some in suspects.split(_AT_A_TIME) if len(suspects) else ():
        for row, digest in zip(*read(some.tolist()), strict=True):
            groups.setdefault(digest, []).append(row)
    for rows in groups.values():
        here = torch.tensor(rows)
        differs = codes[here] != codes[here[0]]
        if differs.any():
            found[here] = torch.where(differs, here[0], here[differs][0])
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


def _sum(values: Shaped[Tensor, "b v"]) -> Int64[Tensor, " b"]:
    """Bits as whole numbers, each times a random one, added up; what does not fit in is lost."""
    values, size = values.contiguous(), values.element_size()
    if values.is_floating_point():
        values = values.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[size])
    values = values.to(torch.int64 if size == 8 else torch.int32)
    weights = _weights()[: values.shape[1]].to(values)
    total: Tensor = (values * weights).sum(1, dtype=torch.int64)
    return total.where(total != 0, 1)  # 0 is for samples that were not seen


def _unpadded(inputs: dict[str, Tensor]) -> Iterator[Shaped[Tensor, "b v"]]:
    """The tensors of a tokenized text, padding set to zero so that it does not count."""
    mask = inputs.get("attention_mask")
    for name in sorted(inputs):
        part = inputs[name].flatten(1)
        yield part * mask if mask is not None and part.shape == mask.shape else part


def _trimmed(row: Tensor) -> bytes:
    """The bytes of a row; zeros at its end, which may be padding, do not count."""
    return bytes(row.contiguous().view(torch.uint8).numpy()).rstrip(b"\0")


def _written(text: object) -> bytes:
    return repr(text).encode("utf-8", "surrogatepass")


@lru_cache
def _weights() -> Int64[Tensor, " w"]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-(1 << 62), 1 << 62, (1 << 12,), generator=generator) * 2 + 1
