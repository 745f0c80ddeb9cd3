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

from ogacli.gradients.layers.workspace import at_a_time

if TYPE_CHECKING:
    from ogacli.gradients.layers.part import Part

_BLOCK = 1 << 16


def projected(
    parts: Sequence["Part"], like: Float[Tensor, "b k"], dim: int, seed: int
) -> Float[Tensor, "b dim"]:
    """The projection of the gradients that the parts hold; O(p) a sample."""
    p = sum(part.p for part in parts)
    size = -(-min(_BLOCK, p) // dim) * dim
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(size, generator=generator).to(like.device)
    signs = (torch.randint(0, 2, (size,), generator=generator) * 2 - 1).to(like)
    blocks = -(-p // size)
    shifts = torch.randint(0, size, (blocks,), generator=generator).tolist()
    flips = (torch.randint(0, 2, (blocks,), generator=generator) * 2 - 1).tolist()
    found = like.new_empty(len(like), dim)
    step = at_a_time(size)
    for start in range(0, len(like), step):
        some = slice(start, min(start + step, len(like)))
        total = _blocks_added([part.select(some) for part in parts], found[some], size, shifts, flips)
        found[some] = total.mul_(signs).index_select(1, places).view(len(total), -1, dim).sum(1)
    return found


def _blocks_added(
    parts: Sequence["Part"], like: Float[Tensor, "c dim"], size: int, shifts: list[int], flips: list[int]
) -> Float[Tensor, "c size"]:
    """The blocks of the gradients, each shifted and flipped, added up."""
    total = like.new_zeros(len(like), size)
    first = 0
    for part in parts:
        step = at_a_time(part.p)
        for begin in range(0, len(like), step):
            here = slice(begin, begin + step)
            values = part.select(here).dense()
            for start, stop in _runs(first, part.p, size):
                block, place = divmod(first + start, size)
                _add(total[here], values[:, start:stop], (place + shifts[block]) % size, flips[block])
        first += part.p
    return total


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
