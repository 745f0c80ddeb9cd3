"""Fit the detectors of a scan, and hold gradient batches in memory to be scored afterwards.

In: the samples of one checkpoint. Out: fitted detectors, and the batches that were held. If all samples of
the fit can be held, a scan takes one pass over the data; otherwise those that were not held are read again.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.blocks import release
from ogacli.base.device import where_it_fits
from ogacli.base.progress import Progress
from ogacli.base.seeding import shuffled
from ogacli.detectors import Needs
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import GradientFeed, finite, only
from ogacli.gradients.kept import kept
from ogacli.gradients.repeated import Repeated
from ogacli.scan.collect import Collector
from ogacli.scan.scorers import Scorer, Scorers

_HELD_BYTES = 256 << 20
"""Gradient factors that may be held between fitting and scoring; those beyond it are computed again."""
_KEPT_BYTES = 256 << 20
"""The same for norms and single coordinates, which are held where the factors take more."""

Hold = Callable[[GradientBatch], GradientBatch]
"""Returns what is held of a batch: all of it, or its norms and some coordinates."""


class Fitting:
    """Fits each detector to as many samples as it needs.

    Args:
        feed: Computes the gradients.
        scorers: The detectors.
        rows: The samples that the checkpoint scores.
        collector: Notes the inputs, and samples that cannot be read.
        progress: Shows the progress.
    """

    def __init__(
        self,
        feed: GradientFeed,
        scorers: Scorers,
        rows: Int64[Tensor, " m"],
        collector: Collector,
        progress: Progress,
    ) -> None:
        self.feed = feed
        self.scorers = scorers
        self.rows = rows
        self.collector = collector
        self.progress = progress
        self._held: list[GradientBatch] = []
        self._hold = True
        """False once memory did not suffice."""
        self._seed: int | None = None
        """The seed of the order of the held batches: that of the first detector that is fitted."""

    def run(self) -> list[GradientBatch]:
        """Fit all detectors; returns the batches that were held in memory, to be scored from there."""
        # All sizes come first: what is held of a batch depends on what all detectors need.
        sizes = [one.detector.fit_size(len(self.rows)) for one in self.scorers.each]
        for one, options, size in zip(self.scorers.each, self.scorers.options, sizes, strict=True):
            if size:
                # A detector sees the order that its own seed gives, and is fitted as it would be alone.
                self._fit(one, size, getattr(options, "seed", 0))
        release()
        # What is looked up is read again in the order of the file, which is faster than to pick the rest.
        return self._held if self.feed.model.reads_inputs else []

    def _fit(self, one: Scorer, size: int, seed: int) -> None:
        if self._seed is None:
            self._seed = seed
        rows = self.rows[shuffled(len(self.rows), seed, size)]

        def again() -> Iterator[GradientBatch]:
            with self.progress.bar("fitting", size) as advance:
                for batch in self._batches(rows, size, self._hold and seed == self._seed):
                    advance(len(batch))
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
        keep = self._keeper(size - given) if hold else None
        for batch in self._computed(self._left(rows, known)):
            if keep is not None and (held := keep(batch)) is not None:
                batch = held
                self._held.append(batch)
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

    def _computed(self, rows: Int64[Tensor, " n"]) -> Iterator[GradientBatch]:
        for step in self.feed(rows):
            self.collector.note(step)
            if step.gradients is not None:
                batch = only(step.gradients, finite(step.gradients))
                del step
                yield batch
                del batch

    def _keeper(self, size: int) -> Callable[[GradientBatch], GradientBatch | None]:
        """Holds batches of ``size`` samples while there is memory for them; None for those after that."""
        ways: list[Hold] = []
        left = 0

        def keep(batch: GradientBatch) -> GradientBatch | None:
            nonlocal left
            if not len(batch):
                return None
            if not ways:
                hold, most = self._way(batch, size)
                ways.append(hold)
                left = most - sum(one.nbytes for one in self._held)
            if left <= 0:
                return None
            held = ways[0](batch)
            left -= held.nbytes
            return held if left > 0 else None

        return keep

    def _way(self, batch: GradientBatch, size: int) -> tuple[Hold, int]:
        """How ``size`` samples like these are held, and how many bytes of them."""
        needs: Needs = self.scorers.needs(batch)
        if needs.everything or batch.nbytes / len(batch) * size <= _HELD_BYTES:
            return lambda batch: batch, _HELD_BYTES
        coordinates = needs.coordinates
        if coordinates is None:
            coordinates = torch.empty(0, dtype=torch.int64)
        on_device = coordinates.to(batch.residual.device)
        return lambda batch: kept(batch, needs.norms, on_device), _KEPT_BYTES
