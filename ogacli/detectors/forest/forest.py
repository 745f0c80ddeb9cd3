"""A grown isolation forest: a ``GradientBatch`` comes in, scores go out.

The nodes of all trees lie in four arrays, level by level: the roots first, within a level tree by tree, the
two children of a node side by side. Scoring reads only the coordinates of the inner nodes, so that memory
does not depend on p, and processes one level of all trees at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.device import one_thread
from ogacli.base.tensor_fields import TensorFields
from ogacli.gradients import GradientBatch
from ogacli.gradients.layers.workspace import at_a_time

_CHUNK = 1 << 18
"""Comparisons at a time while scoring on the CPU, so that they fit in the cache of a core."""


@dataclass(frozen=True)
class Forest(TensorFields):
    """Isolation trees, and the score from a sample's path lengths in them (Liu et al., ICDM 2008)."""

    coordinate: Int64[Tensor, " nodes"]
    """The gradient coordinate that an inner node compares."""
    threshold: Float[Tensor, " nodes"]
    """A sample goes to the right child where its gradient entry is greater."""
    left: Int64[Tensor, " nodes"]
    """The index of the left child, the right one being the next; 0 for a leaf."""
    path: Float[Tensor, " nodes"]
    """Of a leaf: its depth plus the average path length of a tree of its samples; float64."""
    usual: Float[Tensor, " trees"]
    """For each tree the average path length c(size) of a tree of as many samples; float64."""

    @classmethod
    def merged(cls, groups: Sequence["Forest"]) -> "Forest":
        """The trees of several forests as one forest, in the given order."""
        starts = torch.tensor([0, *(len(group.left) for group in groups)]).cumsum(0).tolist()
        depth = torch.cat([group.depths() for group in groups])
        order = depth.argsort(stable=True)
        number = torch.empty_like(order)
        number[order] = torch.arange(len(order), device=order.device)
        pairs = zip(groups, starts[:-1], strict=True)
        left = torch.cat([torch.where(group.left > 0, group.left + start, 0) for group, start in pairs])
        return cls(
            coordinate=torch.cat([group.coordinate for group in groups])[order],
            threshold=torch.cat([group.threshold for group in groups])[order],
            left=torch.where(left > 0, number[left], 0)[order],
            path=torch.cat([group.path for group in groups])[order],
            usual=torch.cat([group.usual for group in groups]),
        )

    def depths(self) -> Int64[Tensor, " nodes"]:
        """The depth of each node; 0 for the roots."""
        depth = torch.zeros_like(self.left)
        here = torch.arange(len(self.usual), device=depth.device)
        level = 0
        while len(here):
            depth[here] = level
            children = self.left[here]
            children = children[children > 0]
            here = torch.cat([children, children + 1]).sort().values
            level += 1
        return depth

    def halves(self) -> tuple["Forest", "Forest"]:
        """The trees with even and with odd numbers, as two forests."""
        tree = _trees(self)
        return self._some(tree % 2 == 0, slice(0, None, 2)), self._some(tree % 2 == 1, slice(1, None, 2))

    def _some(self, nodes: Bool[Tensor, " nodes"], trees: slice) -> "Forest":
        """The trees that consist of these nodes."""
        left = self.left[nodes]
        return Forest(
            coordinate=self.coordinate[nodes],
            threshold=self.threshold[nodes],
            left=torch.where(left > 0, nodes.cumsum(0)[left] - 1, 0),
            path=self.path[nodes],
            usual=self.usual[trees],
        )

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """2^(-mean path length / mean of c) (Liu et al. 2008, eq. 2), from 0 to 1; float64.

        Near 1 for a sample that is isolated at once, below 0.5 for one on long paths.
        """
        total = self._usual
        if total == 0:
            return torch.full((len(batch),), 0.5, dtype=torch.float64, device=self.left.device)
        with one_thread():
            lengths = (
                self._longer(part, [level.rise for level in self._levels], 2)
                .sum(0)
                .add_(self._shortest.sum())
                for part in self._parts(batch)
            )
            return torch.cat([_exp2(-length / total) for length in lengths])

    def score_with_halves(self, batch: GradientBatch) -> tuple[Float[Tensor, " b"], Float[Tensor, "2 b"]]:
        """The scores, and those by the trees with even and with odd numbers; in one go, for a GPU."""
        halves = []
        for part in self._parts(batch):
            longer = self._longer(part, self._rise_of_halves, 4).view(2, 2, -1).sum(1)
            halves.append(longer.add_(self._shortest[:, None]))
        lengths = halves[0] if len(halves) == 1 else torch.cat(halves, 1)
        return torch.exp2(-lengths.sum(0) / self._usual), torch.exp2(-lengths / self._usual_of_halves)

    def _parts(self, batch: GradientBatch) -> Iterator[GradientBatch]:
        """The batch, as many samples at a time as make a chunk of comparisons."""
        size = max(1, _CHUNK // max(1, len(self._coordinate)))
        if self.left.device.type != "cpu":
            size = at_a_time(4 * len(self._coordinate), self.left.device)
        if len(batch) <= size:
            yield batch
            return
        for start in range(0, len(batch), size):
            yield batch.select(slice(start, start + size))

    def _longer(
        self, batch: GradientBatch, rises: Sequence[Float[Tensor, "r inner"]], rows: int
    ) -> Float[Tensor, "r b"]:
        """By how much the path of each sample is longer than that to the leftmost leaves; float64.

        Args:
            batch: The samples.
            rises: Of each level; none where no tree has an inner node.
            rows: r, the sums that are wanted.
        """
        values = batch.entries(self._coordinate).t()
        arrived = values.new_ones(len(self.usual), len(batch))
        longer = values.new_zeros(rows, len(batch))
        for level, rise in zip(self._levels, rises, strict=True):
            arrived = arrived.index_select(0, level.origin)
            # 0 or 1 as floats: torch is several times slower where it mixes booleans and floats.
            right = torch.gt(values[level.here], level.threshold, out=torch.empty_like(arrived)).mul_(arrived)
            longer.addmm_(rise, right)
            arrived = torch.cat([arrived.sub_(right), right])
        return longer.double()

    @cached_property
    def splits(self) -> bool:
        """Whether it has two halves, and both have inner nodes."""
        return len(self.usual) > 1 and bool(
            torch.stack([self.usual[::2].sum(), self.usual[1::2].sum()]).all()
        )

    @cached_property
    def _usual(self) -> float:
        """The mean path lengths of all trees, added up."""
        return float(self.usual.sum())

    @cached_property
    def _coordinate(self) -> Int64[Tensor, " inner"]:
        return self.coordinate[self.left > 0]

    @cached_property
    def _usual_of_halves(self) -> Float[Tensor, "2 1"]:
        """The same for the trees with even and with odd numbers."""
        return torch.stack([self.usual[::2].sum(), self.usual[1::2].sum()])[:, None]

    @cached_property
    def _shortest(self) -> Float[Tensor, "2"]:
        """The path lengths of the leftmost leaves, added up over the trees with even and with odd numbers."""
        ends = _left_ends(self)[: len(self.usual)]
        return torch.stack([ends[::2].sum(), ends[1::2].sum()])

    @cached_property
    def _rise_of_halves(self) -> list[Float[Tensor, "4 inner"]]:
        """``_Level.rise`` of the trees with even numbers, below it that of the others; 0 elsewhere."""
        odd = _trees(self)[self.left > 0] % 2
        parities = [odd[level.here] for level in self._levels]
        pairs = zip(self._levels, parities, strict=True)
        return [torch.cat([level.rise * (1 - each), level.rise * each]) for level, each in pairs]

    @cached_property
    def _levels(self) -> Sequence["_Level"]:
        return _levels(self)


@dataclass(frozen=True, slots=True)
class _Level:
    """The inner nodes of all trees at one depth, in the form that scoring needs.

    Each node is given the path length of its leftmost leaf. A step to the left child then changes nothing,
    and a step to the right child adds the difference between the right child and the node.
    """

    here: slice
    """Their places among all inner nodes."""
    threshold: Float[Tensor, "inner 1"]
    origin: Int64[Tensor, " inner"]
    """For each node the index of its parent in the level above if it is a left child, that index plus the
    size of the level above if it is a right child; for a root the number of its tree."""
    rise: Float[Tensor, "2 inner"]
    """What a step to the right adds, split into a multiple of 2^-6 and a rest in multiples of 2^-18: float32
    sums of either are exact in any order, so that scores do not depend on the batch size."""


def _levels(forest: Forest) -> list[_Level]:
    left, depths, path = forest.left, forest.depths(), _left_ends(forest)
    origin = torch.arange(len(left), device=left.device)
    levels: list[_Level] = []
    begin = 0
    for depth in range(int(depths.max())):
        inner = ((left > 0) & (depths == depth)).nonzero()[:, 0]
        children = left[inner]
        rise = path[children + 1] - path[children]
        coarse = (rise * 2**6).round() / 2**6
        fine = ((rise - coarse) * 2**18).round() / 2**18
        levels.append(
            _Level(
                here=slice(begin, begin + len(inner)),
                threshold=forest.threshold[inner, None],
                origin=origin[inner],
                rise=torch.stack([coarse, fine]).float(),
            )
        )
        place = torch.arange(len(inner), device=left.device)
        begin += len(inner)
        origin[children], origin[children + 1] = place, place + len(inner)
    return levels


def _trees(forest: Forest) -> Int64[Tensor, " nodes"]:
    """The number of each node's tree."""
    tree = torch.empty_like(forest.left)
    tree[: len(forest.usual)] = torch.arange(len(forest.usual), device=tree.device)
    depth = forest.depths()
    for level in range(int(depth.max())):
        inner = ((forest.left > 0) & (depth == level)).nonzero()[:, 0]
        tree[forest.left[inner]] = tree[forest.left[inner] + 1] = tree[inner]
    return tree


def _left_ends(forest: Forest) -> Float[Tensor, " nodes"]:
    """For each node the path length of its leftmost leaf."""
    end = torch.arange(len(forest.left), device=forest.left.device)
    for _ in range(int(forest.depths().max())):
        end = torch.where(forest.left[end] > 0, forest.left[end], end)
    return forest.path[end]


def _exp2(x: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """2^x, independent of the length of the tensor.

    The remainder of a tensor beyond whole SIMD vectors is computed and rounded differently; with padding
    there is no remainder.
    """
    return torch.exp2(F.pad(x, (0, -len(x) % 16)))[: len(x)]
