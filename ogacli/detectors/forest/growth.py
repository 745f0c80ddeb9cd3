"""Grow isolation trees, level by level, all trees at once (Liu et al., ICDM 2008, section 4.1).

In: a table of gradient entries, the samples of each tree, and all random numbers. Out: a ``Forest``. The
random numbers are drawn beforehand, for each tree and node, so that a tree does not depend on the trees that
are grown with it.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.detectors.forest.forest import Forest

_TRIES = 8
"""Columns that a node tries one by one before it searches all columns of the table."""
_BLOCK = 1 << 18
"""Entries of the table that are compared at a time in that search."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of some trees, drawn beforehand."""

    queue: Int64[Tensor, "trees q"]
    """Columns of the table, drawn uniformly with replacement, in the order in which the nodes of a tree try
    them. A node skips columns that are constant in it, so that its column is uniform over the others."""
    cut: Float[Tensor, "trees places"]
    """Uniform from 0 to 1 for each place in a tree: the threshold as a fraction of the node's range."""
    pick: Float[Tensor, "trees places"]
    """Uniform from 0 to 1: the choice among all columns that vary, where the queue has none."""

    @classmethod
    def drawn(cls, trees: int, size: int, columns: int, generator: torch.Generator) -> "Draws":
        """Draw them for trees of at most ``size`` samples, from a table with so many columns."""
        places = 2 ** depth_limit(size) - 1
        return cls(
            queue=torch.randint(columns, (trees, max(1, size - 1)), generator=generator),
            cut=torch.rand(trees, places, generator=generator),
            pick=torch.rand(trees, places, generator=generator),
        )

    def part(self, trees: slice, device: torch.device) -> "Draws":
        """The random numbers of some of the trees, on a device."""
        return Draws(*(x[trees].to(device) for x in (self.queue, self.cut, self.pick)))


def depth_limit(size: int) -> int:
    """The greatest depth of a tree of so many samples: ceil(log2(size))."""
    return math.ceil(math.log2(max(size, 2)))


def average_path(size: Int64[Tensor, " m"]) -> Float[Tensor, " m"]:
    """c(size): mean length of an unsuccessful search in a binary search tree (Liu et al. 2008, eq. 1)."""
    n = size.double()
    harmonic = (n - 1).clamp(min=1).log() + 0.5772156649015329
    return torch.where(n > 2, 2 * harmonic - 2 * (n - 1) / n.clamp(min=1), (n == 2).double())


def grow(
    table: Float[Tensor, "blocks columns size"],
    samples: Int64[Tensor, " members"],
    trees: Int64[Tensor, " members"],
    coords: Int64[Tensor, "trees columns"],
    draws: Draws,
) -> Forest:
    """Grow the trees.

    Args:
        table: Gradient entries of the samples, in blocks; column-major, the order in which they are read.
        samples: For each member of a tree its sample, counted through all blocks.
        trees: For each member its tree, ascending.
        coords: The gradient coordinate in each column of the table, for the samples of each tree.
        draws: The random numbers.
    """
    count, places = draws.cut.shape
    search = _Search(table, draws)
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
        path = torch.where(inner, 0.0, depth + average_path(size))
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
    return Forest(coordinate, cut, child, path_length, average_path(trees.bincount(minlength=count)))


class _Search:
    """Finds for each node of a level a column that is not constant in it, and a threshold."""

    def __init__(self, table: Tensor, draws: Draws) -> None:
        self.flat = table.flatten()
        self.columns, self.stride = table.shape[1:]
        self.largest = torch.maximum(table.amax(1), -table.amin(1)).flatten()
        """The largest absolute entry of each sample: its rounding errors are in proportion to it."""
        self.draws = draws
        self.tried = torch.zeros(len(draws.queue), dtype=torch.int64, device=table.device)

    def values(self, member: Int64[Tensor, " m"], column: Int64[Tensor, " #m *c"]) -> Float[Tensor, " m *c"]:
        """Table entries of members (given by the index of their entry in column 0) at some columns."""
        index = member.reshape(-1, *[1] * (column.ndim - 1)) + column * self.stride
        return self.flat.index_select(0, index.flatten()).reshape(index.shape)

    def largest_in(self, member: Int64[Tensor, " m"], node: Int64[Tensor, " m"], nodes: int) -> Tensor:
        """The largest absolute entry of the members of each node."""
        sample = member // (self.columns * self.stride) * self.stride + member % self.stride
        found = self.largest.new_zeros(nodes)
        return found.scatter_reduce_(0, node, self.largest.index_select(0, sample), "amax")

    def cuts(
        self, member: Tensor, node: Tensor, tree: Tensor, place: Tensor, size: Tensor
    ) -> tuple[Int64[Tensor, " nodes"], Float[Tensor, " nodes"]]:
        """Column (-1 for a leaf) and threshold of each node.

        Args:
            member: For each member still in a node, the index of its entry in column 0.
            node: For each member its node.
            tree: For each node its tree.
            place: For each node its heap index in the tree.
            size: For each node its number of members.
        """
        column = torch.full_like(tree, -1)
        low, high = self.flat.new_zeros(2, len(tree))
        largest = self.largest_in(member, node, len(tree))
        seeks = (size > 1) & (place < self.draws.cut.shape[1])
        for _ in range(_TRIES):
            trial = self._next(seeks, tree)
            here = (trial >= 0).index_select(0, node).nonzero()[:, 0]
            if not len(here):
                break
            where = node.index_select(0, here)
            values = self.values(member.index_select(0, here), trial.index_select(0, where))
            least, most = _extremes(values, where, len(tree))
            found = (trial >= 0) & _varies(least, most, largest)
            column = torch.where(found, trial, column)
            low, high = torch.where(found, least, low), torch.where(found, most, high)
            seeks &= ~found
        if seeks.any():
            self._search_all(seeks, member, node, tree, place, column, low, high)
        inner = column >= 0
        cut = self.draws.cut[tree, torch.where(inner, place, 0)]
        threshold = low + cut * (high - low)
        return column, torch.where(threshold < high, threshold, low)

    def _next(self, seeks: Bool[Tensor, " nodes"], tree: Int64[Tensor, " nodes"]) -> Int64[Tensor, " nodes"]:
        """The next column in its tree's queue for each node that needs one; -1 where the queue is used up."""
        trees = tree[seeks]
        rank = torch.arange(len(trees), device=trees.device) - torch.searchsorted(trees, trees)
        turn = self.tried[trees] + rank
        self.tried += trees.bincount(minlength=len(self.tried))
        left = turn < self.draws.queue.shape[1]
        trial = torch.full_like(tree, -1)
        trial[seeks] = torch.where(left, self.draws.queue[trees, torch.where(left, turn, 0)], -1)
        return trial

    def _search_all(
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
        """Choose uniformly among all columns that vary in the node; set ``column``, ``low``, ``high``."""
        mine = seeks[node]
        node, order = node[mine].sort()
        member = member[mine][order]
        step = max(1, _BLOCK // self.columns)
        every = torch.arange(self.columns, device=node.device)[None]
        open_nodes, counts = torch.unique_consecutive(node, return_counts=True)
        # Extremes need all members of a node: pack whole nodes into blocks of about ``step`` members.
        packed = (counts.cumsum(0) - counts) // step
        for block in torch.unique(packed).tolist():
            nodes, here = open_nodes[packed == block], (packed == block).repeat_interleave(counts)
            where = torch.searchsorted(nodes, node[here])
            least, most = _extremes(self.values(member[here], every), where, len(nodes))
            varies = _varies(least, most, self.largest_in(member[here], where, len(nodes))[:, None])
            total = varies.sum(1)
            pick = (self.draws.pick[tree[nodes], place[nodes]] * total).long().clamp(max=total - 1)
            chosen = (varies.cumsum(1) > pick[:, None]).int().argmax(1)
            lines = torch.arange(len(nodes), device=nodes.device)
            column[nodes] = torch.where(total > 0, chosen, -1)
            low[nodes], high[nodes] = least[lines, chosen], most[lines, chosen]


def _extremes(
    values: Float[Tensor, "m ..."], node: Int64[Tensor, " m"], nodes: int
) -> tuple[Float[Tensor, "nodes ..."], Float[Tensor, "nodes ..."]]:
    """The least and the greatest value in each node; inf and -inf for a node without members."""
    index = node.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
    shape = (nodes, *values.shape[1:])
    least = values.new_full(shape, torch.inf).scatter_reduce_(0, index, values, "amin")
    return least, values.new_full(shape, -torch.inf).scatter_reduce_(0, index, values, "amax")


def _varies(
    low: Float[Tensor, "..."], high: Float[Tensor, "..."], largest: Float[Tensor, "..."]
) -> Bool[Tensor, "..."]:
    """Whether the extremes differ by more than rounding; relative, as gradients may have any scale.

    Some gradients are zero but for the rounding of the large numbers that cancel in them, such as that of the
    bias of an attention's keys.
    """
    eps = torch.finfo(low.dtype).eps
    return high - low > eps * torch.maximum(8 * torch.maximum(low.abs(), high.abs()), largest)
