"""The passes of one checkpoint over the data: fit the detectors, then score every sample.

In: a model with one set of weights, and the samples that it scores. Out: their results, in the collector.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ogacli.base.blocks import blocks, numbered
from ogacli.base.device import sent
from ogacli.base.progress import SILENT, Advance, Progress
from ogacli.gradients import GradientBatch, GradientOptions, HeadGradients, Neighbours
from ogacli.gradients.feed import GradientFeed
from ogacli.models import Model
from ogacli.scan.collected.collect import Collector
from ogacli.scan.earlier.saved import States
from ogacli.scan.exchange import exchange, share_fit, share_neighbours, share_notes
from ogacli.scan.fitting import Fitting
from ogacli.scan.scorers import Scorers
from ogacli.scan.scoring import Scoring
from ogacli.scan.setup import Setup
from ogacli.scan.shared_fit import help_to_fit
from ogacli.scan.validation import mean_validation_gradient
from ogacli.scan.work import Work, in_order

Save = Callable[[Callable[[], States], bool], None]
"""Saves an unfinished scan. Arguments: a function that returns the states of the detectors, and whether to
save now, however recent the last time was."""

_LOOKED_UP = 1 << 20
"""Results of more looked-up samples are not saved at an interruption: they are computed again in seconds."""


class CheckpointPass:
    """The passes over the data with one set of weights.

    Args:
        setup: The options.
        model: On the device.
        device: Where to compute.
        rows: The samples that it scores, ascending; all where left out.
        keep_evidence: Whether the collector keeps the evidence of label detectors.
        held_out: Whether the model was not trained on the samples.
    """

    def __init__(
        self,
        setup: Setup,
        model: Model,
        device: torch.device,
        rows: Int64[Tensor, " m"] | None = None,
        *,
        keep_evidence: bool = False,
        held_out: bool = False,
    ) -> None:
        self.setup = setup
        self.samples = setup.samples
        self.ranks = setup.ranks
        self.rows = torch.from_numpy(numbered(len(setup.samples))) if rows is None else rows
        self.model = model
        self.device = device
        self.neighbours = (
            Neighbours(setup.gradients.neighbours, setup.task, len(setup.samples))
            if setup.gradients.residual == "neighbours"
            else None
        )
        self.feed = self._feed(setup.gradients)
        self.scorers = Scorers(
            setup.detectors,
            self.feed.gradients,
            keep_evidence=keep_evidence,
            held_out=held_out,
            samples=self.samples,
        )
        self.scoring = Scoring(self.scorers, self.feed, setup.task)

    def run(
        self,
        collector: Collector,
        states: Sequence[States] = (),
        *,
        save: Save,
        progress: Progress = SILENT,
        step: str = "scanning",
    ) -> None:
        """Fit and score.

        Args:
            collector: Holds the results that are there already, and takes the others.
            states: Of the detectors, where they were fitted before an interruption; of each process.
            save: Called after each batch, and at an interruption.
            progress: Shows the progress.
            step: The name of the pass in the progress.
        """
        self.see_neighbours(progress)
        known = self._known(collector)
        held: list[GradientBatch] = []
        if states:
            self.scorers.restore(states, len(self.rows))
            if collector.rows.done[self.rows].all():
                # The names of the parameters, and notes on them, are known after one batch.
                next((one for one in self.feed(self.rows) if one.gradients is not None), None)
        else:
            held = self._fit(collector, progress)
        self._reduce_layers()
        try:
            self._score_held(held, collector)
            held.clear()
            self._exchange(collector, known)
            known = self._known(collector)
            self._score_rest(collector, save, progress, step)
            # The first rank decides alone on a single checkpoint, unless all score again near the cut.
            lower = self.setup.gradients.precision != "float32"
            self._exchange(collector, known, to_all=collector.several or lower)
            share_notes(self.scorers, self.ranks)
        except KeyboardInterrupt:
            self.ranks.ending()
            # Computed again they would come in other batches, and differ in the last digit.
            self._score_held(held, collector)
            if self._worth_saving:
                save(self.scorers.states, True)
            raise

    def finish(self, collector: Collector) -> None:
        """Apply each detector's last step to the scores."""
        self.scorers.finish(collector.rows.scores, self.samples.labels.to(self.device))

    def finished(self, collector: Collector) -> Tensor:
        """The scores after each detector's last step, [detectors, n]."""
        scores = collector.rows.scores.clone()
        self.scorers.finish(scores, self.samples.labels.to(self.device))
        return scores

    def score_again(self, rows: Int64[Tensor, " m"], collector: Collector, progress: Progress) -> None:
        """Score some samples again, in float32."""
        feed = self._feed(self.setup.gradients.model_copy(update={"precision": "float32"}))
        own, scoring = self._share(feed, rows), Scoring(self.scorers, feed, self.setup.task)
        with progress.bar("scoring near the cut in float32", len(own)) as advance:
            for one in feed(own):
                if one.gradients is not None:
                    scoring.score(one.gradients, collector)
                    advance(len(one.gradients))
                del one
        exchange(collector, own, self.ranks)

    def see_neighbours(self, progress: Progress, rows: Int64[Tensor, " m"] | None = None) -> None:
        """With ``residual: neighbours``: one pass for the features and predictions of all, or some, rows."""
        if self.neighbours is None:
            return
        # A batch of the head's gradients holds features and logits, and multiplies nothing out.
        changes: dict[str, object] = {"layers": "head"}
        if self.setup.gradients.layers != "head":
            changes |= {"fold": False, "compile": False}
        feed = self._feed(self.setup.gradients.model_copy(update=changes), neighbours=None)
        if rows is None:
            rows = self.neighbours.rows[torch.isin(self.neighbours.rows, self.rows)]
            rows = self._share(feed, rows)
        with progress.bar("looking for neighbours", len(rows)) as advance:
            for one in feed(rows):
                if one.gradients is not None:
                    self.neighbours.see(one.gradients)
                    advance(len(one.gradients))
                del one  # before the next one is computed
        share_neighbours(self.neighbours, self.ranks, self.device)
        self.neighbours.close()

    def _feed(self, options: GradientOptions, **changes: Neighbours | None) -> GradientFeed:
        return GradientFeed(
            self.samples,
            self.model,
            self.setup.task,
            options,
            device=self.device,
            workers=self.setup.workers,
            **({"neighbours": self.neighbours} | changes),
        )

    def _show_validation(self, progress: Progress) -> None:
        """Compute the mean validation gradient once, for all detectors that compare with it."""
        wanting = [one.detector for one in self.scorers.each if one.detector.wants_validation]
        if self.setup.validation is None or not wanting:
            return
        mean = mean_validation_gradient(self.setup, self.model, self.device, progress)
        for detector in wanting:
            detector.see_validation(mean)

    def _fit(self, collector: Collector, progress: Progress) -> list[GradientBatch]:
        """Fit the detectors; the batches that were held in memory, to be scored from there."""
        self._agree(self.feed)
        if self.ranks.first:
            self._show_validation(progress)
            held = Fitting(self.feed, self.scorers, self.rows, collector, progress, self.ranks).run()
        else:
            held = help_to_fit(self.feed, collector, self.ranks)
        share_fit(self.scorers, len(self.rows), self.ranks)
        return held

    def _known(self, collector: Collector) -> Bool[Tensor, " n"]:
        """Which samples are done, on all ranks; as it is now, where there are several."""
        return collector.rows.done.clone() if self.ranks.several else collector.rows.done

    def _exchange(self, collector: Collector, known: Bool[Tensor, " n"], *, to_all: bool = True) -> None:
        """Exchange the results of the samples that were not ``known``."""
        if self.ranks.several:
            rows = (collector.rows.done & ~known).nonzero()[:, 0]
            exchange(collector, rows, self.ranks, to_all=to_all)

    def _share(self, feed: GradientFeed, rows: Int64[Tensor, " m"]) -> Int64[Tensor, " s"]:
        """The rows that this rank computes."""
        if not self.ranks.several or not len(rows):
            return rows
        self._agree(feed)
        return self.ranks.share(rows, feed.read_size)

    def _agree(self, feed: GradientFeed) -> None:
        """Let all ranks read as many samples together; they depend on the free memory of a GPU."""
        if self.ranks.several:
            sizes = self.ranks.gathered({"size": torch.tensor(feed.read_size)})
            feed.limit(min(int(one["size"]) for one in sizes))

    def _reduce_layers(self) -> None:
        """Reduce each layer during backward to the norms and coordinates that the detectors need."""
        gradients, needs = self.feed.gradients, self.scorers.needs()
        if not isinstance(gradients, HeadGradients) and not needs.everything:
            none = torch.empty(0, dtype=torch.int64)
            coordinates = none if needs.coordinates is None else needs.coordinates
            gradients.reduce_to(needs.norms, sent(coordinates, self.device))

    def _score_held(self, held: Sequence[GradientBatch], collector: Collector) -> None:
        for batch in held:
            self.scoring.add(batch, collector)
            if self.scoring.full():
                self.scoring.score_waiting(collector)
        self.scoring.score_waiting(collector)

    def _score_rest(self, collector: Collector, save: Save, progress: Progress, step: str) -> None:
        """Score the samples that are not done; what is looked up, some at a time in the order of the file."""
        done = collector.rows.done
        if self.model.reads_inputs:
            left = self.rows[~done[self.rows]]
            left = in_order(self.samples, left, self.feed.read_size) if len(left) else left
            left = self._share(self.feed, left)
            work = Work(self.samples, left, self.feed.read_size) if len(left) else None
            with progress.bar(step, len(self.rows), work=None if work is None else work.of(left)) as advance:
                advance(len(self.rows) - len(left), 0)
                self._score_rows(left, work, collector, save, advance)
            return
        with progress.bar(step, len(self.rows)) as advance:
            for block in blocks(len(self.rows)):
                rows = self.rows[block]
                left = self.ranks.share(rows[~done[rows]], self.feed.read_size)
                advance(len(rows) - len(left), 0)
                self._score_rows(left, None, collector, save, advance)

    def _score_rows(
        self,
        left: Int64[Tensor, " m"],
        work: Work | None,
        collector: Collector,
        save: Save,
        advance: Advance,
    ) -> None:
        """Score some samples, and save between those that are scored together.

        Another scan, which goes on from there, then computes the same batches, to the last digit.
        """
        read, size, whole = 0, self.feed.read_size if len(left) else 1, 0
        try:
            for one in self.feed(left):
                collector.note(one)
                if one.gradients is not None:
                    self.scoring.add(one.gradients, collector)
                seen = len(one.batch.rows) + len(one.batch.quarantined)
                advance(seen, None if work is None else work.of(left[read : read + seen]))
                del one  # before the next one is computed
                read += seen
                if (read % size == 0 and self.scoring.full()) or read == len(left):
                    self.scoring.score_waiting(collector)
                    whole = read
                    if self._worth_saving:
                        save(self.scorers.states, False)
        except KeyboardInterrupt:
            self.scoring.drop_waiting()
            collector.rows.done[left[whole:]] = False
            raise

    @property
    def _worth_saving(self) -> bool:
        """Whether to go on takes less time than to begin anew: not for many rows that are only looked up."""
        return self.model.reads_inputs or len(self.rows) <= _LOOKED_UP
