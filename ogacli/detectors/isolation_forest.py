"""The isolation forest over per-sample gradients, grown and scored without the gradient matrix.

A tree of psi samples has at most psi - 1 inner nodes, and each looks at one coordinate that is drawn without
looking at the data. So the coordinates are drawn first, and a batch is asked for just those.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.base.device import one_thread
from ogacli.detectors import LayeredOptions, detectors
from ogacli.detectors.forest.forest import Forest
from ogacli.detectors.forest.growth import Luck, grow
from ogacli.detectors.forest.stability import Spread
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch

_HELD = 3 << 20
"""Gradient entries that are held at a time while the forest is grown: 12 MB in float32."""
_HELD_PER_CLASS = 4
"""So many times more where there is a forest a class, as they all choose from the same coordinates: with a
quarter of that, rank correlation with a forest that chooses from all falls by 0.02 to 0.03."""
_SHARED = 2500
"""At most so many coordinates are shared by all trees where a batch is asked in many parts."""
_SHARED_HELD = 12 << 20
"""Gradient entries that may then be held: 48 MB in float32."""
_TREES_APART = 1 << 31
"""Added to the seed, so that the trees' random numbers are others than those of the shared coordinates."""
_GROUP, _GROUP_SAMPLES = 5, 2
"""Trees of a group draw their samples from the same ones, twice as many as each of them takes, so that 40 %
of what trees with nothing in common would take must be seen."""
_FEWEST = 32
"""Coordinates that a tree has at least to choose from, whatever that takes."""


@detectors.register
class IsolationForest(LayeredOptions):
    """Score = how soon random cuts isolate the sample's gradient, from 0 to 1 (Liu et al., ICDM 2008)."""

    trees: Annotated[int, Field(ge=1)] | Literal["auto"] = 100
    """How many trees; ``auto``: a hundred, and then twice as many until what is flagged is ``stable``."""
    stable: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Of ``trees: auto``: the share of the most anomalous twentieth of the samples that two halves of the
    trees have in common. 1,600 trees are grown at most."""
    subsample: Annotated[int, Field(ge=2)] = 256
    """How many samples each tree is grown from."""
    seed: int = 0
    """Which samples, coordinates and cuts; one seed is one result."""
    per_class: bool = False
    """Compare each sample with the samples of its own given label only."""

    @property
    def column(self) -> str:
        """Apart from the one that compares all samples."""
        return super().column + ("_per_class" if self.per_class else "")

    def detector(self) -> "Isolation":
        """A forest that is not grown yet."""
        from ogacli.detectors.forest.growing import Growing

        if self.trees == "auto":
            return Growing(self)
        return Isolation(self, self.trees)


class Isolation:
    """An isolation forest, or one a class."""

    def __init__(self, options: IsolationForest, trees: int) -> None:
        self.options = options
        self.trees = trees
        self.forest: Forest | None = None
        self.classes: dict[int, Forest] = {}
        self._groups = math.ceil(trees / _GROUP)
        self._expected = self._wanted
        self._decided = False
        self._shared: Int64[Tensor, " f"] | None = None
        self._spread = Spread(0)

    @property
    def _wanted(self) -> int:
        """As many samples as the trees take.

        That is when no two share a sample, or when those of each group choose from the same ones; within
        classes there can hardly be too many.
        """
        apart = self.trees * self.options.subsample
        return (
            apart
            if self.options.per_class
            else min(apart, self._groups * _GROUP_SAMPLES * self.options.subsample)
        )

    def fit_size(self, n: int) -> int:
        """As many as the trees take; remembered, as ``fit`` plans with it."""
        self._expected = min(n, self._wanted)
        self._spread = Spread(n)
        return self._expected

    def coordinates(self, batch: GradientBatch) -> Int64[Tensor, " f"] | None:
        """All coordinates that will be asked for, ascending, where trees share them; None where not."""
        table = self._table(batch)
        return None if table is None else table.sort().values

    def scored(self) -> Int64[Tensor, " f"]:
        """The coordinates of all inner nodes."""
        assert self.forest is not None, "fit or restore first"
        forests = (self.forest, *self.classes.values())
        coords: Tensor = torch.unique(torch.cat([one.coordinate[one.left > 0].cpu() for one in forests]))
        return coords

    def _table(self, batch: GradientBatch) -> Int64[Tensor, " f"] | None:
        """The coordinates that all trees share, where it pays that they do; the first batch decides.

        To ask each layer of a network for the few coordinates of one tree after the other takes longer than
        the trees themselves, unless each tree has samples of its own that go by together.
        """
        if not self._decided:
            self._decided, generator = True, torch.Generator().manual_seed(self.options.seed)
            if self.options.per_class or batch.p * self._expected <= _HELD:
                held = _HELD * (_HELD_PER_CLASS if self.options.per_class else 1)
                self._shared = distinct(batch.p, max(_FEWEST, held // self._expected), generator)
            elif len(batch.parts) > 1 and self._expected < self._wanted:
                self._shared = distinct(batch.p, min(_SHARED, _SHARED_HELD // self._expected), generator)
        return self._shared

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Grow the forest from ``fit_size(n)`` samples in random order.

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
        if self.options.per_class and (first.labels.ndim != 1 or first.labels.is_floating_point()):
            raise ConfigError(
                "there are no classes to compare within",
                place="detector.per_class",
                found=f"labels {list(first.labels.shape[1:])} of {first.labels.dtype}",
                expected="one class a sample",
                hint="leave `per_class` out",
            )
        generator = torch.Generator().manual_seed(self.options.seed + _TREES_APART)
        coords, p, rest = self._table(first), first.p, _begun([first], stream)
        del first  # no batch stays in memory longer than it is looked at
        if coords is not None:
            self._fit_table(rest, coords, generator)
        else:
            self._fit_trees(rest, p, generator)

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """From 0 to 1, about 0.5 for a sample like most; float64."""
        assert self.forest is not None, "fit or restore first"
        device = batch.residual.device
        self.forest = self.forest.to(device)
        if not self.classes:
            self._spread.see(self.forest, batch)
            return self.forest.score(batch)
        found = torch.empty(len(batch), dtype=torch.float64, device=device)
        for label in torch.unique(batch.labels).tolist():
            here = (batch.labels == label).nonzero()[:, 0]
            if label in self.classes:
                self.classes[label] = self.classes[label].to(device)
            found[here] = self.classes.get(label, self.forest).score(batch.select(here))
        return found

    def overlap(self, share: float) -> float | None:
        """How much two halves of the trees have in common of the most anomalous samples.

        Args:
            share: How large a part of the samples those are.

        Returns:
            The share of them; None where that is not known, as with a forest a class.
        """
        return self._spread.overlap(share)

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """The grown trees, under ``all.`` and under ``<label>.`` of each class."""
        assert self.forest is not None, "fit first"
        forests = {"all": self.forest} | {str(label): forest for label, forest in self.classes.items()}
        return {
            f"{name}.{key}": value
            for name, forest in forests.items()
            for key, value in forest.state().items()
        } | {f"spread.{key}": value for key, value in self._spread.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the trees that ``state`` gave."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, field = key.partition(".")
            parts.setdefault(name, {})[field] = value
        self._spread.restore(parts.pop("spread"))
        self.forest = Forest.of(parts.pop("all"))
        self.classes = {int(name): Forest.of(part) for name, part in parts.items()}

    def _fit_trees(self, batches: Iterable[GradientBatch], p: int, generator: torch.Generator) -> None:
        """Each tree its own samples and coordinates, grown once the samples have gone by."""
        trees, size = self.trees, min(self.options.subsample, self._expected)
        starts, block, together = [0] * trees, self._expected, trees
        if self._expected == self._wanted:
            block, together = self._expected // self._groups, max(1, _HELD // (_GROUP * size**2)) * _GROUP
            starts = [tree // _GROUP * block for tree in range(trees)]
        draws = [start + torch.randperm(block, generator=generator)[:size] for start in starts]
        turns, together = torch.stack(draws).sort(1).values, min(trees, together)
        width = min(size - 1, max(_FEWEST, _HELD // (together * size)))
        coords = torch.randint(p, (trees, width), generator=generator)
        luck = replace(Luck.drawn(trees, size, width, generator), queue=torch.arange(width).expand(trees, -1))
        nursery = _Nursery(turns, coords, luck, together)
        for batch in batches:
            with one_thread():
                nursery.see(batch)
            del batch
        with one_thread():
            self.forest = nursery.forest()

    def _fit_table(
        self, batches: Iterable[GradientBatch], coords: Int64[Tensor, " f"], generator: torch.Generator
    ) -> None:
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
        self.forest = self._grow(table, everyone, coords, generator)
        if self.options.per_class:
            given = torch.cat(labels)
            for label in torch.unique(given).tolist():
                own = everyone[given == label]
                if len(own) > 1:
                    self.classes[label] = self._grow(table, own, coords, generator)

    def _grow(self, table: Tensor, own: Tensor, coords: Tensor, generator: torch.Generator) -> Forest:
        """A forest from some rows of a table."""
        trees, size, device = self.trees, min(self.options.subsample, len(own)), table.device
        draws = [torch.randperm(len(own), generator=generator)[:size] for _ in range(trees)]
        luck = Luck.drawn(trees, size, len(coords), generator)
        with one_thread():
            return grow(
                table,
                own[torch.cat(draws).to(device)],
                torch.arange(trees, device=device).repeat_interleave(size),
                coords.to(device).expand(trees, -1),
                luck.part(slice(None), device),
            )


class _Nursery:
    """Where trees wait for their samples, some trees at a time."""

    def __init__(
        self,
        turns: Int64[Tensor, "trees size"],
        coords: Int64[Tensor, "trees width"],
        luck: Luck,
        together: int,
    ) -> None:
        """Plan the trees.

        Args:
            turns: The places in the stream of each tree's samples, ascending.
            coords: The coordinates of each tree.
            luck: The random numbers of each tree.
            together: How many trees wait at a time; no tree may want samples from before the last sample of
                one that waited earlier.
        """
        self.turns = turns
        self.coords = coords
        self.luck = luck
        self.together = together
        self.seen = 0
        self.grown: list[Forest] = []
        self.table = torch.empty(0)
        self.filled = [0] * together

    def see(self, batch: GradientBatch) -> None:
        """Keep what the trees want of a batch, and grow those that have all they wanted."""
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
        """All trees; where the stream was shorter than expected, the last are small or empty."""
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
        luck = self.luck.part(trees, device)
        self.grown.append(grow(self.table, samples, samples // size, self.coords[trees], luck))
        self.filled = [0] * self.together


def _begun(first: list[GradientBatch], rest: Iterator[GradientBatch]) -> Iterator[GradientBatch]:
    """A stream whose first batch was taken out of it already."""
    yield first.pop()
    yield from rest


def distinct(p: int, count: int, generator: torch.Generator) -> Int64[Tensor, " f"]:
    """min(p, count) different coordinates, each set with the same chance, in O(count)."""
    if p <= 4 * count:
        return torch.randperm(p, generator=generator)[:count]
    found: Tensor = torch.unique(torch.randint(p, (2 * count,), generator=generator))
    return found[torch.randperm(len(found), generator=generator)[:count]]
