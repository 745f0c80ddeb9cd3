"""Fit isolation forests to a stream of batches, without the gradient matrix.

In: batches of samples in random order. Out: ``Forests``. A tree of psi samples has at most psi - 1 inner
nodes, and each compares one coordinate that is drawn without regard to the data. So the coordinates are drawn
first, and only their entries are read.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import one_thread
from ogacli.detectors.forest.forest import Forest
from ogacli.detectors.forest.forests import Forests
from ogacli.detectors.forest.growth import Draws, grow
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch

_HELD = 3 << 20
"""Gradient entries that are held at a time while the forest is grown: 12 MB in float32."""
_HELD_PER_CLASS = 4
"""Factor on ``_HELD`` with a forest for each class, as all forests draw from the same coordinates: with a
factor of 1, the rank correlation with a forest that draws from all coordinates falls by 0.02 to 0.03."""
_SHARED = 2500
"""The most coordinates that are shared by all trees where the gradient has several layers."""
_SHARED_HELD = 12 << 20
"""Gradient entries that may then be held: 48 MB in float32."""
_SEED_OFFSET = 1 << 31
"""Added to the seed of the trees, whose random numbers so differ from those of the shared coordinates."""
_GROUP, _GROUP_SAMPLES = 5, 2
"""Five trees draw their samples from the same ones, twice as many as each tree takes. So only 40 % of the
samples must be seen that trees without common samples would take."""
_FEWEST = 32
"""The least number of coordinates that a tree chooses from, whatever memory that takes."""


class ForestFit:
    """How many samples, and which coordinates of them, forests of one kind are grown from.

    Args:
        trees: Trees of a forest.
        subsample: Samples of a tree (psi).
        per_class: Grow one more forest for each class.
        seed: Seed of the coordinates that trees share.
    """

    def __init__(self, trees: int, subsample: int, *, per_class: bool, seed: int) -> None:
        self.trees = trees
        self.subsample = subsample
        self.per_class = per_class
        self.seed = seed
        self._groups = math.ceil(trees / _GROUP)
        apart = trees * subsample
        self._wanted = apart if per_class else min(apart, self._groups * _GROUP_SAMPLES * subsample)
        self._expected = self._wanted
        self._decided = False
        self._shared: Int64[Tensor, " f"] | None = None

    def expect(self, n: int) -> int:
        """The number of samples, of n, that the trees take; the plan assumes that ``grow`` sees as many.

        Each group of trees draws from samples of its own. Within classes all trees have samples of their own.
        """
        self._expected = min(n, self._wanted)
        return self._expected

    def shared(self, batch: GradientBatch) -> Int64[Tensor, " f"] | None:
        """The coordinates that all trees share, in random order; None where each tree has its own.

        The first batch decides. Of a network of several layers trees share them: reading the few coordinates
        of one tree after the other from each layer takes longer than growing the trees, and coordinates of
        each tree's own could not be held, so that gradients would be computed once more.
        """
        if not self._decided:
            self._decided, generator = True, torch.Generator().manual_seed(self.seed)
            if self.per_class or batch.p * self._expected <= _HELD:
                held = _HELD * (_HELD_PER_CLASS if self.per_class else 1)
                self._shared = distinct(batch.p, max(_FEWEST, held // self._expected), generator)
            elif len(batch.parts) > 1:
                self._shared = distinct(batch.p, min(_SHARED, _SHARED_HELD // self._expected), generator)
        return self._shared

    def grow(self, batches: Iterable[GradientBatch], seed: int) -> Forests:
        """Grow the forests in one pass.

        Args:
            batches: ``expect(n)`` samples in random order; the forests are smaller where fewer come.
            seed: Seed of the samples, own coordinates and thresholds of the trees.

        Raises:
            DataError: There is no sample.
            ConfigError: ``per_class``, but the labels are not classes.
        """
        stream = iter(batches)
        first = next(stream, None)
        if first is None:
            raise DataError(
                "no sample to grow the isolation forest from", expected="at least one that can be read"
            )
        if self.per_class and (first.labels.ndim != 1 or first.labels.is_floating_point()):
            raise ConfigError(
                "there are no classes to compare within",
                place="detector.per_class",
                found=f"labels {list(first.labels.shape[1:])} of {first.labels.dtype}",
                expected="one class a sample",
                hint="leave `per_class` out",
            )
        generator = torch.Generator().manual_seed(seed + _SEED_OFFSET)
        coords, p, rest = self.shared(first), first.p, _chained([first], stream)
        del first  # so that no batch stays in memory after it was read
        if coords is not None:
            return self._grow_from_table(rest, coords, generator)
        return Forests(self._grow_as_they_come(rest, p, generator))

    def _grow_as_they_come(
        self, batches: Iterable[GradientBatch], p: int, generator: torch.Generator
    ) -> Forest:
        """Each tree with its own samples and coordinates, grown once all of its samples have come."""
        trees, size = self.trees, min(self.subsample, self._expected)
        starts, block, together = [0] * trees, self._expected, trees
        if self._expected == self._wanted:
            block, together = self._expected // self._groups, max(1, _HELD // (_GROUP * size**2)) * _GROUP
            starts = [tree // _GROUP * block for tree in range(trees)]
        chosen = [start + torch.randperm(block, generator=generator)[:size] for start in starts]
        turns, together = torch.stack(chosen).sort(1).values, min(trees, together)
        width = min(size - 1, max(_FEWEST, _HELD // (together * size)))
        coords = torch.randint(p, (trees, width), generator=generator)
        draws = replace(
            Draws.drawn(trees, size, width, generator), queue=torch.arange(width).expand(trees, -1)
        )
        waiting = _Waiting(turns, coords, draws, together)
        for batch in batches:
            with one_thread():
                waiting.see(batch)
            del batch
        with one_thread():
            return waiting.forest()

    def _grow_from_table(
        self, batches: Iterable[GradientBatch], coords: Int64[Tensor, " f"], generator: torch.Generator
    ) -> Forests:
        """All samples at the same coordinates, from which each tree draws its own."""
        table, labels, seen = torch.empty(0), [], 0
        for batch in batches:
            if not seen:
                coords = coords.to(batch.residual.device)
                table = batch.residual.new_empty(1, len(coords), self._expected)
            part = batch.select(slice(0, self._expected - seen))
            table[0, :, seen : seen + len(part)] = part.entries(coords).t()
            labels.append(part.labels)
            seen += len(part)
            del batch, part
        everyone = torch.arange(seen, device=table.device)
        whole, classes = self._from_rows(table, everyone, coords, generator), {}
        if self.per_class:
            given = torch.cat(labels)
            for label in torch.unique(given).tolist():
                own = everyone[given == label]
                if len(own) > 1:
                    classes[label] = self._from_rows(table, own, coords, generator)
        return Forests(whole, classes)

    def _from_rows(
        self,
        table: Float[Tensor, "1 f m"],
        own: Int64[Tensor, " s"],
        coords: Int64[Tensor, " f"],
        generator: torch.Generator,
    ) -> Forest:
        """A forest from some samples of a table."""
        trees, size, device = self.trees, min(self.subsample, len(own)), table.device
        chosen = [torch.randperm(len(own), generator=generator)[:size] for _ in range(trees)]
        draws = Draws.drawn(trees, size, len(coords), generator)
        with one_thread():
            return grow(
                table,
                own[torch.cat(chosen).to(device)],
                torch.arange(trees, device=device).repeat_interleave(size),
                coords.to(device).expand(trees, -1),
                draws.part(slice(None), device),
            )


class _Waiting:
    """Collects the entries of each tree's samples from the stream, some trees at a time."""

    def __init__(
        self,
        turns: Int64[Tensor, "trees size"],
        coords: Int64[Tensor, "trees width"],
        draws: Draws,
        together: int,
    ) -> None:
        """Plan the trees.

        Args:
            turns: The positions in the stream of each tree's samples, ascending.
            coords: The coordinates of each tree.
            draws: The random numbers of each tree.
            together: How many trees collect samples at a time. All samples of these must come before those
                of later trees.
        """
        self.turns = turns
        self.coords = coords
        self.draws = draws
        self.together = together
        self.seen = 0
        self.grown: list[Forest] = []
        self.table = torch.empty(0)
        self.filled = [0] * together

    def see(self, batch: GradientBatch) -> None:
        """Copy the entries that the trees need from a batch, and grow the trees that are complete."""
        if not self.seen:
            self.coords = self.coords.to(batch.residual.device)
            shape = (self.together, self.coords.shape[1], self.turns.shape[1])
            self.table = batch.residual.new_empty(shape)
        first, last = (
            torch.searchsorted(self.turns, torch.full((len(self.turns), 1), turn))[:, 0]
            for turn in (self.seen, self.seen + len(batch))
        )
        for tree in (last > first).nonzero()[:, 0].tolist():
            while tree >= (len(self.grown) + 1) * self.together:
                self._grow()
            index = self.turns[tree, first[tree] : last[tree]] - self.seen
            begin, end = int(index[0]), int(index[-1]) + 1
            chosen = slice(begin, end) if end - begin == len(index) else index.to(self.coords.device)
            place = tree % self.together
            here = slice(self.filled[place], self.filled[place] + len(index))
            self.table[place, :, here] = batch.select(chosen).entries(self.coords[tree]).t()
            self.filled[place] = here.stop
        self.seen += len(batch)

    def forest(self) -> Forest:
        """All trees; where the stream was shorter than planned, the last are small or empty."""
        while len(self.grown) * self.together < len(self.turns):
            self._grow()
        return Forest.merged(self.grown)

    def _grow(self) -> None:
        begin = len(self.grown) * self.together
        trees = slice(begin, min(begin + self.together, len(self.turns)))
        count, size, device = trees.stop - begin, self.turns.shape[1], self.coords.device
        filled = torch.tensor(self.filled[:count], device=device)
        present = torch.arange(size, device=device) < filled[:, None]
        samples = present.flatten().nonzero()[:, 0]
        draws = self.draws.part(trees, device)
        self.grown.append(grow(self.table, samples, samples // size, self.coords[trees], draws))
        self.filled = [0] * self.together


def _chained(first: list[GradientBatch], rest: Iterator[GradientBatch]) -> Iterator[GradientBatch]:
    """The stream with the batch that was taken from it already; keeps no reference to that batch."""
    yield first.pop()
    yield from rest


def distinct(p: int, count: int, generator: torch.Generator) -> Int64[Tensor, " f"]:
    """min(p, count) different coordinates of p, uniformly drawn, in O(count)."""
    if p <= 4 * count:
        return torch.randperm(p, generator=generator)[:count]
    found: Tensor = torch.unique(torch.randint(p, (2 * count,), generator=generator))
    return found[torch.randperm(len(found), generator=generator)[:count]]
