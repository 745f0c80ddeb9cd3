"""Fit the detectors of a scan, and hold gradient batches in memory to be scored afterwards.

In: the samples of one checkpoint. Out: fitted detectors, and the batches that were held. If all samples of
the fit can be held, a scan takes one pass over the data; otherwise those that were not held are read again.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.blocks import release
from ogacli.base.device import where_it_fits
from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.base.progress import Progress
from ogacli.base.seeding import shuffled
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import GradientFeed
from ogacli.gradients.repeated import Repeated
from ogacli.scan.collected.collect import Collector
from ogacli.scan.scorers import Scorer, Scorers
from ogacli.scan.shared_fit import Lead, Reduction, computed, shareable
from ogacli.scan.work import Work

_HELD_BYTES = 256 << 20
"""Gradient factors that may be held between fitting and scoring; those beyond it are computed again."""
_KEPT_BYTES = 256 << 20
"""The same for norms and single coordinates, which are held where the factors take more."""


class Fitting:
    """Fits each detector to as many samples as it needs.

    Args:
        feed: Computes the gradients.
        scorers: The detectors.
        rows: The samples that the checkpoint scores.
        collector: Notes the inputs, and samples that cannot be read.
        progress: Shows the progress.
        ranks: The others help to compute the gradients.
    """

    def __init__(
        self,
        feed: GradientFeed,
        scorers: Scorers,
        rows: Int64[Tensor, " m"],
        collector: Collector,
        progress: Progress,
        ranks: Ranks = ALONE,
    ) -> None:
        self.feed = feed
        self.scorers = scorers
        self.rows = rows
        self.collector = collector
        self.progress = progress
        self._ranks = ranks
        self._lead = Lead(feed, collector, ranks)
        self._held: list[GradientBatch] = []
        self._own: list[GradientBatch] = []
        """Those of the held batches that this process has computed, which it scores."""
        self._hold = True
        """False once memory did not suffice."""
        self._seed: int | None = None
        """The seed of the order of the held batches: that of the first detector that is fitted."""
        self._most = 0
        """The samples of the largest fit."""
        self._reduction: Reduction | None = None
        """What is needed of each batch; known after the first one."""
        self._first: GradientBatch | None = None
        """The first sample, where there are other ranks; it keeps the memory of its batch."""

    def run(self) -> list[GradientBatch]:
        """Fit all detectors; returns the batches that were held in memory, to be scored from there."""
        # All sizes come first: what is held of a batch depends on what all detectors need.
        sizes = [one.detector.fit_size(len(self.rows)) for one in self.scorers.each]
        self._most = max(sizes)
        for one, options, size in zip(self.scorers.each, self.scorers.options, sizes, strict=True):
            if size:
                # A detector sees the order that its own seed gives, and is fitted as it would be alone.
                self._fit(one, size, getattr(options, "seed", 0))
        self._lead.end()
        release()
        # What is looked up is read again in the order of the file, which is faster than to pick the rest.
        return self._own if self.feed.model.reads_inputs else []

    def _fit(self, one: Scorer, size: int, seed: int) -> None:
        if self._seed is None:
            self._seed = seed
        rows = self.rows[shuffled(len(self.rows), seed, size)]

        def again() -> Iterator[GradientBatch]:
            hold = self._hold and seed == self._seed
            held = sum(map(len, self._held)) if hold else 0
            left = self._left(rows, self._held if hold else [])
            work = Work(self.feed.samples, left, self.feed.read_size)
            with self.progress.bar("fitting", size, work=work.of(left[: max(0, size - held)])) as advance:
                for batch in self._batches(rows, size, hold):
                    # What is held in memory takes no time, and comes first.
                    advance(len(batch), work.of(batch.rows) if held <= 0 else 0)
                    held -= len(batch)
                    yield one.of(batch)
                    del batch  # before the next one is computed

        def fit() -> bool:
            with one.watch:
                one.detector.fit(Repeated(lambda: one.watch.without(again())))
            return True

        while where_it_fits(fit) is None:
            self._make_room()

    def _make_room(self) -> None:
        """Hold no batches any more; if there are none, compute smaller ones.

        Raises:
            GradientError: Batches have a single sample.
        """
        if self._held:
            self._held.clear()
            self._own.clear()
            self._lead.drop()
            self._hold = False
        else:
            self.feed.halve(self.feed.size.samples)

    def _batches(self, rows: Int64[Tensor, " n"], size: int, hold: bool) -> Iterator[GradientBatch]:
        """The first ``size`` of the rows with a finite gradient; held ones come from memory."""
        given, known = 0, list(self._held) if hold else []
        for batch in known:
            if given < size:
                usable = batch.select(slice(0, size - given))
                given += len(usable)
                yield usable
        if given >= size:
            return
        for batch in self._reduced(self._left(rows, known), size - given, hold):
            batch = batch.select(slice(0, size - given))
            given += len(batch)
            yield batch
            del batch  # before the next one is computed
            if given >= size:
                return

    def _left(self, rows: Int64[Tensor, " n"], known: list[GradientBatch]) -> Int64[Tensor, " m"]:
        """The rows without those that are in memory or cannot be read."""
        seen = torch.zeros(len(self.feed.samples), dtype=torch.bool)
        for batch in known:
            seen[batch.rows] = True
        seen[list(self.collector.rows.quarantined)] = True
        return rows[~seen[rows]]

    def _reduced(self, rows: Int64[Tensor, " n"], size: int, hold: bool) -> Iterator[GradientBatch]:
        """What is needed of the batches, which are held while there is memory for them."""
        held = sum(one.nbytes for one in self._held)
        for batch, own in self._computed(rows, size):
            held += batch.nbytes
            if hold and len(batch) and self._reduction is not None and held < self._reduction.most:
                self._held.append(batch)
                if own:
                    self._own.append(batch)
                else:
                    self._lead.hold()
            yield batch
            del batch  # before the next one is computed

    def _computed(self, rows: Int64[Tensor, " n"], size: int) -> Iterator[tuple[GradientBatch, bool]]:
        """What is needed of the batches, and whether this process has computed them."""
        while self._ranks.several and self._first is None and len(rows):
            some, rows = rows[: self.feed.read_size], rows[self.feed.read_size :]
            for batch, own in self._by_own(some):
                size -= len(batch)
                yield batch, own
                del batch
        first, reduction = self._first, self._reduction
        if first is not None and reduction is not None and shareable(self.feed, reduction):
            yield from self._lead.computed(rows, size, first, reduction)
        else:
            yield from self._by_own(rows)

    def _by_own(self, rows: Int64[Tensor, " n"]) -> Iterator[tuple[GradientBatch, bool]]:
        for batch in computed(self.feed, self.collector, rows):
            if self._reduction is None and len(batch):
                self._reduction = self._reduction_of(batch)
                if self._ranks.several:
                    self._first = self._reduction.of(batch).select(slice(0, 1))
            yield batch if self._reduction is None else self._reduction.of(batch), True
            del batch  # before the next one is computed

    def _reduction_of(self, batch: GradientBatch) -> Reduction:
        """What is held of batches like this one: all of it, or norms and some coordinates."""
        needs = self.scorers.needs(batch)
        if needs.everything or batch.nbytes / len(batch) * self._most <= _HELD_BYTES:
            return Reduction(_HELD_BYTES)
        coordinates = torch.empty(0, dtype=torch.int64) if needs.coordinates is None else needs.coordinates
        return Reduction(_KEPT_BYTES, needs.norms, coordinates.to(batch.residual.device))
