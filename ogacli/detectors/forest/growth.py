"""Growing isolation trees, all of them level by level.

In: a table of gradient entries, which of its samples each tree is grown from, and every random number that
will be needed. Out: a ``Forest``. The random numbers are drawn beforehand, each for its own tree and node, so
that a tree does not depend on what it is grown together with.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.detectors.forest.forest import Forest

_TRIES = 8
"""Coordinates that a node tries one by one before it looks at all of the table's."""
_BLOCK = 1 << 18
"""Numbers of the table that are looked at together when it comes to that."""


@dataclass(frozen=True, slots=True)
class Luck:
    """The random numbers of some trees."""

    queue: Int64[Tensor, "trees q"]
    """Columns of the table, drawn uniformly with replacement, in the order in which a tree's nodes try them.
    One that is constant in a node is passed over: what the node gets is uniform over the others."""
    cut: Float[Tensor, "trees places"]
    """Uniform from 0 to 1 for each place in a tree: where between the extremes a node cuts."""
    pick: Float[Tensor, "trees places"]
    """The same, for the choice among all columns where the queue yields none."""

    @classmethod
    def drawn(cls, trees: int, size: int, columns: int, generator: torch.Generator) -> "Luck":
        """Numbers for trees of at most ``size`` samples, from a table with so many columns."""
        places = 2 ** depth_limit(size) - 1
        return cls(
            queue=torch.randint(columns, (trees, max(1, size - 1)), generator=generator),
            cut=torch.rand(trees, places, generator=generator),
            pick=torch.rand(trees, places, generator=generator),
        )

    def part(self, trees: slice, device: torch.device) -> "Luck":
        """That of some of the trees."""
        return Luck(*(x[trees].to(device) for x in (self.queue, self.cut, self.pick)))


def depth_limit(size: int) -> int:
    """How deep a tree of so many samples may grow."""
    return math.ceil(math.log2(max(size, 2)))


def usual_path(size: Int64[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Mean length of an unsuccessful search in a binary search tree of so many (Liu et al. 2008, eq. 1)."""
    n = size.double()
    harmonic = (n - 1).clamp(min=1).log() + 0.5772156649015329
    return torch.where(n > 2, 2 * harmonic - 2 * (n - 1) / n.clamp(min=1), (n == 2).double())


def grow(
    table: Float[Tensor, "blocks columns size"],
    samples: Int64[Tensor, " members"],
    trees: Int64[Tensor, " members"],
    coords: Int64[Tensor, "trees columns"],
    luck: Luck,
) -> Forest:
    """Grow the trees.

    Args:
        table: Gradient entries, in blocks of samples; a column at a time, as that is how they are read.
        samples: The sample that each member of a tree is, counted through all blocks.
        trees: The tree of each member.
        coords: Which coordinate each column of the table holds for the samples of each tree.
        luck: The random numbers.
    """
    count, places = luck.cut.shape
    search = _Search(table, luck)
    block = samples // table.shape[2]
    member = samples + block * (table.shape[1] - 1) * table.shape[2]
    tree = torch.arange(count, device=table.device)
    place = torch.zeros_like(tree)
    node, levels, begin = trees, [], 0
    for depth in range(places.bit_length() + 1):
        size = node.bincount(minlength=len(tree))
        column, threshold = search.cuts(member, node, tree, place, size)
        inner = column >= 0
        begin += len(tree)
        rank = inner.cumsum(0) - 1
        path = torch.where(inner, 0.0, depth + usual_path(size))
        left = torch.where(inner, begin + 2 * rank, 0)
        levels.append((torch.where(inner, coords[tree, column], 0), threshold, left, path))
        stays = inner.index_select(0, node).nonzero()[:, 0]
        member, node = member.index_select(0, stays), node.index_select(0, stays)
        right = search.values(member, column.index_select(0, node)) > threshold.index_select(0, node)
        node = 2 * rank.index_select(0, node) + right
        tree = tree[inner].repeat_interleave(2)
        place = torch.stack([2 * place[inner] + 1, 2 * place[inner] + 2], 1).flatten()
        if not len(tree):
            break
    coordinate, cut, child, path_length = (torch.cat(arrays) for arrays in zip(*levels, strict=True))
    return Forest(coordinate, cut, child, path_length, usual_path(trees.bincount(minlength=count)))


class _Search:
    """Finds for each node of a level a coordinate that is not constant in it, and where to cut."""

    def __init__(self, table: Tensor, luck: Luck) -> None:
        self.flat = table.flatten()
        self.columns, self.stride = table.shape[1:]
        self.luck = luck
        self.tried = torch.zeros(len(luck.queue), dtype=torch.int64, device=table.device)

    def values(self, member: Int64[Tensor, " m"], column: Int64[Tensor, " #m *c"]) -> Float[Tensor, " m *c"]:
        """Entries of members, each given by the place of its first column's entry, at some columns."""
        index = member.reshape(-1, *[1] * (column.ndim - 1)) + column * self.stride
        return self.flat.index_select(0, index.flatten()).reshape(index.shape)

    def cuts(
        self, member: Tensor, node: Tensor, tree: Tensor, place: Tensor, size: Tensor
    ) -> tuple[Int64[Tensor, " nodes"], Float[Tensor, " nodes"]]:
        """Column (-1: a leaf) and threshold of each node."""
        column = torch.full_like(tree, -1)
        low, high = self.flat.new_zeros(2, len(tree))
        seeks = (size > 1) & (place < self.luck.cut.shape[1])
        for _ in range(_TRIES):
            trial = self._next(seeks, tree)
            here = (trial >= 0).index_select(0, node).nonzero()[:, 0]
            if not len(here):
                break
            where = node.index_select(0, here)
            values = self.values(member.index_select(0, here), trial.index_select(0, where))
            least, most = _extremes(values, where, len(tree))
            found = (trial >= 0) & _varies(least, most)
            column = torch.where(found, trial, column)
            low, high = torch.where(found, least, low), torch.where(found, most, high)
            seeks &= ~found
        if seeks.any():
            self._look_everywhere(seeks, member, node, tree, place, column, low, high)
        inner = column >= 0
        cut = self.luck.cut[tree, torch.where(inner, place, 0)]
        threshold = low + cut * (high - low)
        return column, torch.where(threshold < high, threshold, low)

    def _next(self, seeks: Bool[Tensor, " nodes"], tree: Int64[Tensor, " nodes"]) -> Int64[Tensor, " nodes"]:
        """The next column in the queue of its tree for each node that seeks one; -1 at the queue's end."""
        trees = tree[seeks]
        rank = torch.arange(len(trees), device=trees.device) - torch.searchsorted(trees, trees)
        turn = self.tried[trees] + rank
        self.tried += trees.bincount(minlength=len(self.tried))
        left = turn < self.luck.queue.shape[1]
        trial = torch.full_like(tree, -1)
        trial[seeks] = torch.where(left, self.luck.queue[trees, torch.where(left, turn, 0)], -1)
        return trial

    def _look_everywhere(
        self,
        seeks: Tensor,
        member: Tensor,
        node: Tensor,
        tree: Tensor,
        place: Tensor,
        column: Tensor,
        low: Tensor,
        high: Tensor,
    ) -> None:
        """One of all columns that vary in the node, each with the same chance."""
        mine = seeks[node]
        node, order = node[mine].sort()
        member = member[mine][order]
        step = max(1, _BLOCK // self.columns)
        every = torch.arange(self.columns, device=node.device)[None]
        open_nodes, counts = torch.unique_consecutive(node, return_counts=True)
        # A node's members must not be torn apart: pack whole nodes into blocks of about so many members.
        packed = (counts.cumsum(0) - counts) // step
        for block in torch.unique(packed).tolist():
            nodes, here = open_nodes[packed == block], (packed == block).repeat_interleave(counts)
            where = torch.searchsorted(nodes, node[here])
            least, most = _extremes(self.values(member[here], every), where, len(nodes))
            varies = _varies(least, most)
            total = varies.sum(1)
            pick = (self.luck.pick[tree[nodes], place[nodes]] * total).long().clamp(max=total - 1)
            chosen = (varies.cumsum(1) > pick[:, None]).int().argmax(1)
            lines = torch.arange(len(nodes), device=nodes.device)
            column[nodes] = torch.where(total > 0, chosen, -1)
            low[nodes], high[nodes] = least[lines, chosen], most[lines, chosen]


def _extremes(
    values: Float[Tensor, "m ..."], node: Int64[Tensor, " m"], nodes: int
) -> tuple[Float[Tensor, "nodes ..."], Float[Tensor, "nodes ..."]]:
    """The least and the greatest value in each node; infinity and its negative where it has none."""
    index = node.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
    shape = (nodes, *values.shape[1:])
    least = values.new_full(shape, torch.inf).scatter_reduce_(0, index, values, "amin")
    return least, values.new_full(shape, -torch.inf).scatter_reduce_(0, index, values, "amax")


def _varies(low: Float[Tensor, "..."], high: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
    """Whether the extremes differ by more than rounding: relative, as gradients have any scale."""
    return high - low > 8 * torch.finfo(low.dtype).eps * torch.maximum(low.abs(), high.abs())
