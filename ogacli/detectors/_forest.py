"""A grown isolation forest: in goes a ``GradientBatch``, out come scores.

The nodes of all trees lie in four arrays, level by level, the roots first, within a level tree by tree; the
two children of a node are neighbours. Scoring asks the batch for the coordinates of the inner nodes only, so
memory does not depend on p, and goes through a level of all trees at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients import GradientBatch

_CHUNK = 1 << 18
"""Comparisons at a time while scoring, so that they stay in a core's cache."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread's torch operations run on one core.

    Those of a forest are many and small: sharing them out gains a little on an idle machine, and costs ten
    times the work where other processes want the cores, or a container may use fewer than it sees.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
        size = min(4096, max(1, _CHUNK // max(1, len(self._steps.threshold))))
        parts = (batch.select(slice(i, i + size)) for i in range(0, max(1, len(batch)), size))
        with one_thread():
            return torch.cat([_exp2(-self._path_length(part) / total) for part in parts])

    def _path_length(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The path lengths of each sample, summed over the trees."""
        steps = self._steps
        values = batch.entries(steps.coordinate).t()
        # As int8: torch compares into booleans, and converts from them, several times slower.
        right = torch.gt(values, steps.threshold, out=values.new_empty(values.shape, dtype=torch.int8))
        arrived = right.new_ones(len(self.usual), len(batch))
        for level, origin in steps.levels:
            arrived = arrived.index_select(0, origin)
            went = right[level].mul_(arrived)
            arrived = torch.cat([arrived.sub_(went), went])
        return steps.start + (steps.rise @ right.float()).double().sum(0)

    @cached_property
    def _steps(self) -> "_Steps":
        return _Steps.of(self)


@dataclass(frozen=True, slots=True)
class _Steps:
    """A forest as scoring wants it: inner nodes only, and path lengths as sums over steps to the right.

    Give an inner node the path length of the leaf at the end of its left children; a step to the left then
    changes nothing, and a step to the right adds what this node's right child differs by.
    """

    coordinate: Int64[Tensor, " inner"]
    threshold: Float[Tensor, "inner 1"]
    levels: Sequence[tuple[slice, Int64[Tensor, " level"]]]
    """The inner nodes of each level, and for each whose child it is: a left child has the parent's place in
    the level above, a right child that plus the level's size; a root the number of its tree."""
    start: Tensor
    """The sum over the roots."""
    rise: Float[Tensor, "2 inner"]
    """What a step to the right adds, in coarse multiples and the rest in fine ones: float32 sums of either
    are exact in whatever order they are taken, so that scores do not depend on the batch size."""

    @classmethod
    def of(cls, forest: Forest) -> "_Steps":
        left, depths = forest.left, forest.depths()
        inner = (left > 0).nonzero()[:, 0]
        last = torch.arange(len(left), device=left.device)
        for _ in range(int(depths.max())):
            last = torch.where(left[last] > 0, left[last], last)
        path = forest.path[last]
        rise = path[left[inner] + 1] - path[left[inner]]
        coarse = (rise * 2**6).round() / 2**6
        fine = ((rise - coarse) * 2**18).round() / 2**18
        return cls(
            coordinate=forest.coordinate[inner],
            threshold=forest.threshold[inner, None],
            levels=_levels(left, depths, inner),
            start=path[: len(forest.usual)].sum(),
            rise=torch.stack([coarse, fine]).float(),
        )


def _levels(left: Tensor, depths: Tensor, inner: Tensor) -> list[tuple[slice, Tensor]]:
    origin = torch.arange(len(left), device=left.device)
    levels = []
    begin = 0
    for size in depths[inner].bincount().tolist():
        level = slice(begin, begin + size)
        levels.append((level, origin[inner[level]]))
        place = torch.arange(size, device=left.device)
        origin[left[inner[level]]] = place
        origin[left[inner[level]] + 1] = place + size
        begin += size
    return levels


def _exp2(x: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """2 to the power of x, the same whatever stands beside it.

    What is left over when a tensor is cut into SIMD vectors goes another way and rounds otherwise; padded,
    nothing is left over.
    """
    return torch.exp2(F.pad(x, (0, -len(x) % 16)))[: len(x)]
