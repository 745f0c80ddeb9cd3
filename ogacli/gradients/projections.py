"""A seeded random projection of gradients, of which a block is in memory at a time.

Feature hashing (Weinberger et al., ICML 2009, arXiv 0902.2206): each of the p coordinates is added, with a
random sign, to one of ``dim`` sums. The signs of any two coordinates are independent, so that in expectation
over the seeds every inner product is preserved. Signs and places are not drawn for each of the p coordinates:
those of a coordinate are composed of those of its block and those of its position in the block.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.workspace import at_a_time

_BLOCK = 1 << 16


def projected(
    parts: Sequence[Part], like: Float[Tensor, "b k"], dim: int, seed: int
) -> Float[Tensor, "b dim"]:
    """The projection of the gradients of all parts; O(p) a sample."""
    p = sum(part.p for part in parts)
    size = -(-min(_BLOCK, p) // dim) * dim
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(size, generator=generator).to(like.device)
    signs = (torch.randint(0, 2, (size,), generator=generator) * 2 - 1).to(like)
    blocks = -(-p // size)
    shifts = torch.randint(0, size, (blocks,), generator=generator).tolist()
    flips = (torch.randint(0, 2, (blocks,), generator=generator) * 2 - 1).tolist()
    found = like.new_empty(len(like), dim)
    step = at_a_time(size, like.device)
    for start in range(0, len(like), step):
        some = slice(start, min(start + step, len(like)))
        total = _blocks_added([part.select(some) for part in parts], found[some], size, shifts, flips)
        found[some] = total.mul_(signs).index_select(1, places).view(len(total), -1, dim).sum(1)
    return found


def _blocks_added(
    parts: Sequence[Part], like: Float[Tensor, "c dim"], size: int, shifts: list[int], flips: list[int]
) -> Float[Tensor, "c size"]:
    """The blocks of the gradients, each shifted and flipped, added up."""
    total = like.new_zeros(len(like), size)
    first = 0
    for part in parts:
        step = at_a_time(part.p, like.device)
        for begin in range(0, len(like), step):
            here = slice(begin, begin + step)
            values = part.select(here).dense()
            start = 0
            while start < part.p:  # up to the end of a block at a time
                block, place = divmod(first + start, size)
                run = values[:, start : start + size - place]
                _add(total[here], run, (place + shifts[block]) % size, flips[block])
                start += run.shape[1]
        first += part.p
    return total


def _add(total: Float[Tensor, "c size"], values: Float[Tensor, "c n"], place: int, sign: int) -> None:
    """Add values from ``place`` on, continuing at the start after the end."""
    ahead = min(values.shape[1], total.shape[1] - place)
    total[:, place : place + ahead].add_(values[:, :ahead], alpha=sign)
    total[:, : values.shape[1] - ahead].add_(values[:, ahead:], alpha=sign)
