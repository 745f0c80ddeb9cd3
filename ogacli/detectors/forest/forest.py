"""A grown isolation forest: in goes a ``GradientBatch``, out come scores.

The nodes of all trees lie in four arrays, level by level, the roots first, within a level tree by tree; the
two children of a node are neighbours. Scoring asks the batch for the coordinates of the inner nodes only, so
memory does not depend on p, and goes through a level of all trees at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.device import one_thread
from ogacli.gradients import GradientBatch

_CHUNK = 1 << 18
"""Comparisons at a time while scoring, so that they stay in a core's cache."""


@dataclass(frozen=True)
class Forest:
    """Isolation trees, and what a sample's path through them says (Liu et al., ICDM 2008)."""

    coordinate: Int64[Tensor, " nodes"]
    """Which gradient coordinate an inner node looks at."""
    threshold: Float[Tensor, " nodes"]
    """A sample goes right where its gradient is greater."""
    left: Int64[Tensor, " nodes"]
    """The node of the left child, the right one being the next; 0 for a leaf."""
    path: Float[Tensor, " nodes"]
    """Of a leaf: its depth plus the mean path length of a tree of the samples that it holds; float64."""
    usual: Float[Tensor, " trees"]
    """The mean path length of a tree of as many samples as each tree was grown from; float64."""

    @classmethod
    def merged(cls, groups: Sequence["Forest"]) -> "Forest":
        """The trees of several forests as one forest, in the order given."""
        starts = torch.tensor([0, *(len(group.left) for group in groups)]).cumsum(0).tolist()
        depth = torch.cat([group.depths() for group in groups])
        order = depth.argsort(stable=True)
        number = torch.empty_like(order)
        number[order] = torch.arange(len(order), device=order.device)
        left = torch.cat(
            [
                torch.where(group.left > 0, group.left + start, 0)
                for group, start in zip(groups, starts[:-1], strict=True)
            ]
        )
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
        """The trees of even and of odd number, as two forests."""
        tree = torch.empty_like(self.left)
        tree[: len(self.usual)] = torch.arange(len(self.usual), device=tree.device)
        depth = self.depths()
        for level in range(int(depth.max())):
            inner = ((self.left > 0) & (depth == level)).nonzero()[:, 0]
            tree[self.left[inner]] = tree[self.left[inner] + 1] = tree[inner]
        return self._some(tree % 2 == 0, slice(0, None, 2)), self._some(tree % 2 == 1, slice(1, None, 2))

    def _some(self, nodes: Bool[Tensor, " nodes"], trees: slice) -> "Forest":
        """The trees that these nodes are all of."""
        left = self.left[nodes]
        return Forest(
            coordinate=self.coordinate[nodes],
            threshold=self.threshold[nodes],
            left=torch.where(left > 0, nodes.cumsum(0)[left] - 1, 0),
            path=self.path[nodes],
            usual=self.usual[trees],
        )

    def to(self, device: torch.device) -> "Forest":
        """The same on a device; itself where it is there already."""
        if self.left.device == device:
            return self
        return Forest(*(getattr(self, field.name).to(device) for field in fields(self)))

    def state(self) -> dict[str, Tensor]:
        """The arrays by name, on the CPU."""
        return {field.name: getattr(self, field.name).cpu() for field in fields(self)}

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Forest":
        """The forest whose ``state`` this was."""
        return cls(**{field.name: state[field.name] for field in fields(cls)})

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """2 to the power of minus (mean path length / usual path length), float64.

        Near 1 for a sample that is cut off at once, below 0.5 for one that lies deep.
        """
        total = self.usual.sum()
        if total == 0:
            return torch.full((len(batch),), 0.5, dtype=torch.float64, device=self.left.device)
        size = max(1, _CHUNK // max(1, len(self._coordinate)))
        parts = (batch.select(slice(i, i + size)) for i in range(0, max(1, len(batch)), size))
        with one_thread():
            return torch.cat([_exp2(-self._path_length(part) / total) for part in parts])

    def _path_length(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The path lengths of each sample, summed over the trees."""
        values = batch.entries(self._coordinate).t()
        arrived = values.new_ones(len(self.usual), len(batch))
        longer = values.new_zeros(2, len(batch))
        for level in self._levels:
            arrived = arrived.index_select(0, level.origin)
            # 0 or 1, but as floats: torch is several times slower where booleans meet floats.
            right = torch.gt(values[level.here], level.threshold, out=torch.empty_like(arrived)).mul_(arrived)
            longer.addmm_(level.rise, right)
            arrived = torch.cat([arrived.sub_(right), right])
        return self._leftmost.sum() + longer.double().sum(0)

    @cached_property
    def _coordinate(self) -> Int64[Tensor, " inner"]:
        return self.coordinate[self.left > 0]

    @cached_property
    def _leftmost(self) -> Float[Tensor, " trees"]:
        """The path length of the leaf at the end of each tree's left children."""
        return _left_ends(self)[: len(self.usual)]

    @cached_property
    def _levels(self) -> Sequence["_Level"]:
        return _levels(self)


@dataclass(frozen=True, slots=True)
class _Level:
    """The inner nodes of all trees at one depth, as scoring wants them.

    Give an inner node the path length of the leaf at the end of its left children: a step to the left then
    changes nothing, and a step to the right adds what the node's right child differs by.
    """

    here: slice
    """Which of all inner nodes these are."""
    threshold: Float[Tensor, "inner 1"]
    origin: Int64[Tensor, " inner"]
    """Whose child each is: a left child has its parent's place in the level above, a right child that plus
    the size of the level above; a root has the number of its tree."""
    rise: Float[Tensor, "2 inner"]
    """What a step to the right adds, in coarse multiples and the rest in fine ones: float32 sums of either
    are exact in whatever order they are taken, so that scores do not depend on the batch size."""


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


def _left_ends(forest: Forest) -> Float[Tensor, " nodes"]:
    """For each node the path length of the leaf at the end of its left children."""
    end = torch.arange(len(forest.left), device=forest.left.device)
    for _ in range(int(forest.depths().max())):
        end = torch.where(forest.left[end] > 0, forest.left[end], end)
    return forest.path[end]


def _exp2(x: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """2 to the power of x, the same whatever stands beside it.

    What is left over when a tensor is cut into SIMD vectors goes another way and rounds otherwise; padded,
    nothing is left over.
    """
    return torch.exp2(F.pad(x, (0, -len(x) % 16)))[: len(x)]
