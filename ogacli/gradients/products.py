"""Inner products and weighted sums of per-sample gradients, from their factors where possible.

In: batches, whose *blocks* are the gradients of one parameter each. Out: float64 numbers a sample and block.
For a linear layer the gradient is never formed; for other layers it is formed a few samples at a time.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.layers.linear import Outer, Plain, Positions
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import sums
from ogacli.gradients.layers.workspace import at_a_time

_SUMMED = 1 << 16
"""Products of a sample are summed in float32, which is faster, over this many; these sums in float64."""


def blocks(batch: GradientBatch) -> list[Part]:
    """The parts of a batch, one a parameter: the bias of a head separately from its weight."""
    found: list[Part] = []
    for part in batch.parts:
        if isinstance(part, Outer) and part.bias:
            found += [Outer(part.a, part.d, bias=False), Plain(part.d)]
        else:
            found.append(part)
    return found


def squares(batch: GradientBatch) -> Float[Tensor, "b l"]:
    """The squared L2 norm of each sample's gradient, block by block."""
    return torch.stack([sums([part], [2])[2] for part in blocks(batch)], 1)


def dots(batch: GradientBatch, vector: Float[Tensor, " p"]) -> Float[Tensor, "b l"]:
    """The inner product of each sample's gradient with a vector, block by block."""
    parts = blocks(batch)
    pieces = vector.double().split([part.p for part in parts])
    found = [_dot(part, piece, len(batch)) for part, piece in zip(parts, pieces, strict=True)]
    return torch.stack(found, 1)


def combined(batch: GradientBatch, weights: Float[Tensor, "b l"]) -> Float[Tensor, " p"]:
    """The weighted sum of the gradients of a batch, with a weight for each sample and block."""
    columns = weights.double().unbind(1)
    return torch.cat([_sum(part, own) for part, own in zip(blocks(batch), columns, strict=True)])


def mean_gradient(batches: Iterable[GradientBatch]) -> Float[Tensor, " p"] | None:
    """The mean gradient of all samples; None where there is none."""
    total, count = None, 0
    for batch in batches:
        ones = batch.residual.new_ones(len(batch), len(blocks(batch)))
        found = combined(batch, ones)
        total = found if total is None else total.add_(found)
        count += len(batch)
    return None if total is None or not count else total / count


def spread(values: Float[Tensor, " l"], sizes: Sequence[int]) -> Float[Tensor, " p"]:
    """Repeat the number of each block for every coordinate of the block."""
    return values.repeat_interleave(torch.tensor(sizes, device=values.device))


def inner(one: Part, other: Outer | Plain, b: int) -> Float[Tensor, "b m"]:
    """The inner products of b gradients of a block with m others of the same block.

    O(b m (h + k)) for a linear layer with one position a sample, O(b m p) for any other.
    """
    if isinstance(other, Outer):
        assert isinstance(one, Outer)
        return (one.a.double() @ other.a.double().T) * (one.d.double() @ other.d.double().T)
    found = other.values.new_empty(b, len(other.values), dtype=torch.float64)
    held = other.values.double().T
    for here, values in _formed(one, b, held.device):
        found[here] = values.double() @ held
    return found


def _dot(part: Part, vector: Float[Tensor, " p"], b: int) -> Float[Tensor, " b"]:
    match part:
        case Outer(a=a, d=d):
            matrix = vector.view(d.shape[1], a.shape[1])
            return ((a.double() @ matrix.T) * d.double()).sum(1)
        case Positions(a=a, d=d):
            matrix = vector.to(a.dtype).view(d.shape[2], a.shape[2])
            return (a @ matrix.T).mul_(d).sum((1, 2), dtype=torch.float64)
        case Plain(values=values):
            return values.double() @ vector
    found = vector.new_zeros(b)
    pieces = vector.float().split(_SUMMED)
    for here, formed in _formed(part, b, vector.device):
        for values, piece in zip(formed.split(_SUMMED, 1), pieces, strict=True):
            found[here] += values @ piece
    return found


def _sum(part: Part, weights: Float[Tensor, " b"]) -> Float[Tensor, " p"]:
    match part:
        case Outer(a=a, d=d):
            return ((d.double() * weights[:, None]).T @ a.double()).flatten()
        case Positions(a=a, d=d):
            weighted = d * weights.to(d.dtype)[:, None, None]
            return (weighted.flatten(0, 1).T @ a.flatten(0, 1)).double().flatten()
        case Plain(values=values):
            return weights @ values.double()
    narrow = weights.float()
    total = narrow.new_zeros(part.p)
    for here, formed in _formed(part, len(weights), weights.device):
        total.addmv_(formed.T, narrow[here])
    return total.double()


def _formed(part: Part, b: int, device: torch.device) -> Iterator[tuple[slice, Float[Tensor, "c p"]]]:
    """The gradients of a block, some samples at a time."""
    step = at_a_time(part.p, device)
    for first in range(0, b, step):
        here = slice(first, first + step)
        yield here, part.select(here).dense()
