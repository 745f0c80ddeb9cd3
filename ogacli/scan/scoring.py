"""Score gradient batches; on a GPU several wait until they can be scored together.

In: the batches of one read after the other. Out: their results, in the collector. To score a batch and to
collect its results takes a fixed number of operations, each of which takes as long as starting it where
samples are few.
"""

import sys
from functools import partial

from ogacli.base.device import total_bytes, where_it_fits
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import GradientFeed
from ogacli.gradients.joining import joinable, joined
from ogacli.models.tasks import Task
from ogacli.scan.collected.collect import Collector
from ogacli.scan.scorers import Scorers

_READS = 16
"""Of so many reads the samples wait."""
_PART = 256
"""What all that wait may hold, but for those of one read, as a part of the memory of the device."""


class Scoring:
    """Scores batches with fitted detectors, and keeps those that wait; none do on the CPU.

    Args:
        scorers: The detectors.
        feed: Computes the batches, smaller ones from then on where the scores of one do not fit in memory.
        task: The loss.
    """

    def __init__(self, scorers: Scorers, feed: GradientFeed, task: Task) -> None:
        self._scorers = scorers
        self._feed = feed
        self._task = task
        self._most_bytes = 0 if feed.device.type == "cpu" else total_bytes(feed.device) // _PART
        self._most_samples = sys.maxsize
        """That are scored together; fewer once so many did not fit in memory."""
        self._waiting: list[GradientBatch] = []
        self._reads = 0

    def add(self, batch: GradientBatch, collector: Collector) -> None:
        """Let a batch wait, or score it where it has to be scored by itself."""
        if batch.nbytes > self._most_bytes or not joinable(batch):
            self.score(batch, collector)
        else:
            self._waiting.append(batch)

    def full(self) -> bool:
        """Whether those that wait should be scored; called after each read."""
        self._reads += 1
        held = sum(one.nbytes for one in self._waiting)
        with_next = sum(map(len, self._waiting)) * (self._reads + 1) // self._reads
        enough = self._reads >= _READS or held >= self._most_bytes or with_next > self._most_samples
        return not self._waiting or enough

    def score_waiting(self, collector: Collector) -> None:
        """Score all that wait, as one batch."""
        batches, self._waiting, self._reads = self._waiting, [], 0
        if batches:
            self.score(joined(batches), collector)

    def drop_waiting(self) -> None:
        """Forget those that wait, as they will be computed again."""
        self._waiting, self._reads = [], 0

    def score(self, batch: GradientBatch, collector: Collector) -> None:
        """Score a batch at once; in parts where memory does not suffice, and later ones likewise."""
        done = 0
        while done < len(batch):
            size = min(self._most_samples, len(batch) - done)
            part = batch.select(slice(done, done + size)) if size < len(batch) else batch
            scored = where_it_fits(partial(self._scorers.score, part))
            if scored is None:
                self._feed.halve(size)
                self._most_samples = size // 2
            else:
                collector.add(part, scored, self._task)
                done += size
