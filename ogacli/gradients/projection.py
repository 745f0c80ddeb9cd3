"""A seeded random projection of a gradient that is never held whole.

Feature hashing (Weinberger et al., ICML 2009, arXiv 0902.2206): each of the p coordinates is added, with a
random sign, to one of ``dim`` sums. In expectation over the seeds that keeps every inner product, whatever
the gradients are, as the signs of any two coordinates are independent. So that neither signs nor places of
p coordinates need be drawn, a coordinate's are those of its block times those of its place in the block.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.workspace import at_a_time

if TYPE_CHECKING:
    from ogacli.gradients.batch import Part

_BLOCK = 1 << 16


def projected(
    parts: Sequence["Part"], like: Float[Tensor, "b k"], dim: int, seed: int
) -> Float[Tensor, "b dim"]:
    """The projection of the gradients that the parts hold; O(p) a sample."""
    b, p = len(like), sum(part.p for part in parts)
    size = -(-_BLOCK // dim) * dim
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(size, generator=generator)
    signs = torch.randint(0, 2, (size,), generator=generator) * 2 - 1
    blocks = -(-p // size)
    shifts = torch.randint(0, size, (blocks,), generator=generator).tolist()
    flips = (torch.randint(0, 2, (blocks,), generator=generator) * 2 - 1).tolist()
    total = like.new_zeros(b, size)
    first = 0
    for part in parts:
        for samples in torch.arange(b).split(at_a_time(part.p)):
            here = slice(int(samples[0]), int(samples[-1]) + 1)
            values = part.select(here).dense()
            for start, stop in _runs(first, part.p, size):
                block, place = divmod(first + start, size)
                _add(total[here], values[:, start:stop], (place + shifts[block]) % size, flips[block])
        first += part.p
    total = (total * signs.to(total))[:, places.to(total.device)]
    return total.view(b, -1, dim).sum(1)


def _runs(first: int, p: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut p coordinates, the first of which is number ``first``, where blocks end."""
    start = 0
    while start < p:
        stop = min(p, start + size - (first + start) % size)
        yield start, stop
        start = stop


def _add(total: Float[Tensor, "c size"], values: Float[Tensor, "c n"], place: int, sign: int) -> None:
    """Add values from ``place`` on, going round at the end."""
    ahead = min(values.shape[1], total.shape[1] - place)
    total[:, place : place + ahead].add_(values[:, :ahead], alpha=sign)
    total[:, : values.shape[1] - ahead].add_(values[:, ahead:], alpha=sign)
