"""The passes over the data that fit the detectors and score the samples.

One pass where the samples that the detectors must see first can be held as factors; those are then scored
from memory, and the others as they stream by. Two passes otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.progress import SILENT, Progress
from ogacli.data import Samples
from ogacli.detectors import Answering, Comparing, Detector, Drawn, Frugal, LayeredOptions
from ogacli.detectors.norm import Norm
from ogacli.gradients import GradientBatch, LayerGradients, Neighbours
from ogacli.gradients.feed import GradientFeed, out_of_memory
from ogacli.gradients.kept import kept
from ogacli.gradients.view import View, view
from ogacli.models import Model
from ogacli.scan.collect import Collector, Partial, finite
from ogacli.scan.held_out import HeldOut
from ogacli.scan.stopwatch import Stopwatch
from ogacli.scan.validation import mean_validation_gradient, open_validation
from ogacli.verdict.budget import flag, ranking
from ogacli.verdict.verdict import Believed

if TYPE_CHECKING:
    from ogacli.config import Config

_NEAR_THE_CUT = 32
"""At least so many samples below the cut are scored once more after a pass in lower precision."""
_HELD_BYTES = 256 << 20
"""Gradient factors that may be held in memory between fitting and scoring."""
_KEPT_BYTES = 64 << 20
"""The same for single coordinates, where the factors would be too many."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Batches that may be gone through several times; what is not in memory is computed again."""

    begin: Callable[[], Iterator[GradientBatch]]
    watch: Stopwatch
    """Of the detector that goes through them."""

    def __iter__(self) -> Iterator[GradientBatch]:
        return self.watch.without(self.begin())


@dataclass(frozen=True, slots=True)
class Rescored:
    """What scoring once more in float32 changed, after a pass in lower precision."""

    samples: int
    """Flagged ones and those near the cut."""
    changed: int
    """How many of them changed sides."""


class Stream:
    """The passes over the data that fit the detectors and score the samples."""

    def __init__(
        self,
        config: Config,
        samples: Samples,
        model: Model,
        device: torch.device,
        rows: Int64[Tensor, " m"] | None = None,
    ) -> None:
        """Prepare the detectors.

        Args:
            config: What to compute.
            samples: Where the rows are.
            model: With one set of weights, on the device.
            device: Where to compute.
            rows: Which of the samples, ascending; all of them where left out.
        """
        self.config = config
        self.samples = samples
        self.rows = torch.arange(len(samples)) if rows is None else rows
        self.model = model
        self.device = device
        self.neighbours = (
            Neighbours(config.gradients.neighbours, config.loss.loss(), len(samples))
            if config.gradients.residual == "neighbours"
            else None
        )
        self.feed = GradientFeed(config, samples, model, device, neighbours=self.neighbours)
        self._columns = column_names(config)
        self.detectors: list[Detector] = [options.detector() for options in config.detectors]
        self._views = [
            view(self.feed.gradients, options.layers)
            if isinstance(options, LayeredOptions) and options.layers is not None
            else None
            for options in config.detectors
        ]
        self.validation = (
            open_validation(config.validation, samples, model, config.model.prepare)
            if config.validation is not None and self._comparing()
            else None
        )
        self.rescored: Rescored | None = None
        self._held_out: HeldOut | None = None
        self._orders = sorted({one.order for one in self.detectors if isinstance(one, Norm)})
        self._watches = [Stopwatch() for _ in self.detectors]
        self._norms = Stopwatch()

    def run(
        self,
        partial: Partial,
        states: Sequence[Mapping[str, Tensor]] = (),
        *,
        progress: Progress = SILENT,
        step: str = "scanning",
    ) -> None:
        """Fit and score.

        Args:
            partial: What is done already, and all findings afterwards; an interruption leaves it on disk.
            states: Of the detectors, where they were fitted before.
            progress: Told how far it is.
            step: What the pass is called.
        """
        collector = partial.collector
        self.feed.witness, self._held_out = partial.witness, partial.held_out
        held: list[GradientBatch] = []
        self.see_neighbours(collector, progress)
        if states:
            for detector, state in zip(self.detectors, states, strict=True):
                detector.restore(state)
        else:
            held = self._fit(collector, progress)
        self._ask()
        with progress.bar(step, len(self.rows)) as advance:
            try:
                for batch in held:
                    self._score(batch, collector)
                held.clear()
                advance(int(collector.done[self.rows].sum()))
                left = self.rows[~collector.done[self.rows]]
                if self.model.reads_inputs:
                    left = self.samples.longest_first(left)
                for batch in self.feed(left, collector):
                    self._score(batch, collector)
                    advance(len(batch))
                    del batch  # before the next one is computed
                    partial.save(self._states())
            except KeyboardInterrupt:
                for batch in held:  # read again it would come in other batches, and differ in the last digit
                    self._score(batch, collector)
                partial.save(self._states(), now=True)
                raise
        if self.config.gradients.precision != "float32":
            self._score_once_more(collector, progress)
        collector.scores.copy_(self._finished(collector))

    def _ask(self) -> None:
        """Let the gradients of all layers be asked as they come, where it is known what for."""
        gradients = self.feed.gradients
        if not isinstance(gradients, LayerGradients):
            return
        coords = [torch.empty(0, dtype=torch.int64)]
        for one, seen in zip(self.detectors, self._views, strict=True):
            if isinstance(one, Frugal):
                coords.append(one.scored() if seen is None else seen.among_all(one.scored()))
            elif not isinstance(one, Norm):
                return
        gradients.ask(self._orders, torch.cat(coords).unique().to(self.device))

    def see_neighbours(
        self, collector: Collector, progress: Progress, rows: Int64[Tensor, " m"] | None = None
    ) -> None:
        """Where neighbours answer for the samples: one pass for features and answers, of all or some rows."""
        if self.neighbours is None:
            return
        # The head's gradients are features and answers, and are not multiplied out unless asked for.
        changes: dict[str, object] = {"layers": "head"}
        if self.config.gradients.layers != "head":
            changes |= {"fold": False, "compile": False}
        options = self.config.gradients.model_copy(update=changes)
        feed = GradientFeed(self.config, self.samples, self.model, self.device, options)
        if rows is None:
            rows = self.neighbours.rows[torch.isin(self.neighbours.rows, self.rows)]
        with progress.bar("looking for neighbours", len(rows)) as advance:
            for batch in feed(rows, collector):
                self.neighbours.see(batch)
                advance(len(batch))
        self.neighbours.close()

    def _finished(self, collector: Collector) -> Float[Tensor, "detectors n"]:
        """The scores after each detector's last step, which may need all of them."""
        scores, labels = collector.scores.clone(), self.samples.labels.to(self.device)
        for own, detector, watch in zip(scores, self.detectors, self._watches, strict=True):
            known = torch.isfinite(own)
            with watch:
                own[known] = detector.finish(own[known], labels[known])
        return scores

    def _score_once_more(self, collector: Collector, progress: Progress) -> None:
        """Score what is flagged or near the cut in float32."""
        before = self._finished(collector)[0].cpu()
        scored = int(torch.isfinite(before).sum())
        # Of an automatic budget about as many as it flags at most.
        contradicted = collector.contradicted(self.samples.labels) if self.samples.categorical else 0
        count = self.config.budget.count(scored, contradicted)
        near = min(scored, count + max(_NEAR_THE_CUT, count // 4))
        rows = ranking(before)[:near].sort().values
        options = self.config.gradients.model_copy(update={"precision": "float32"})
        exact = GradientFeed(self.config, self.samples, self.model, self.device, options, self.neighbours)
        with progress.bar("scoring near the cut in float32", near) as advance:
            for batch in exact(rows, collector):
                self._score(batch, collector)
                advance(len(batch))
        after = self._finished(collector)[0].cpu()
        changed = int((flag(before, count) != flag(after, count)).sum())
        self.rescored = Rescored(near, changed)

    def seconds(self) -> dict[str, float] | None:
        """What each detector took beyond the gradients; None on a GPU, which does not wait to be timed."""
        if self.device.type != "cpu":
            return None
        names = self._columns
        norms = [isinstance(detector, Norm) for detector in self.detectors]
        shared = self._norms.total / max(1, sum(norms))
        return {
            name: round(watch.total + shared * norm, 4)
            for name, watch, norm in zip(names, self._watches, norms, strict=True)
        }

    def overlaps(self, share: float) -> dict[str, float]:
        """For detectors that are drawn by lot: what two halves have in common of so large a part."""
        return {
            name: found
            for name, one in zip(self._columns, self.detectors, strict=True)
            if isinstance(one, Drawn) and (found := one.overlap(share)) is not None
        }

    def _states(self) -> list[dict[str, Tensor]]:
        return [detector.state() for detector in self.detectors]

    def _fit(self, collector: Collector, progress: Progress) -> list[GradientBatch]:
        """Show each detector the samples that it must see; returns those that were held in memory."""
        n = len(self.rows)
        self._show_validation(progress)
        sizes = [detector.fit_size(n) for detector in self.detectors]
        held: list[GradientBatch] = []
        if not any(sizes):
            return held
        first: int | None = None
        for i, (size, options) in enumerate(zip(sizes, self.config.detectors, strict=True)):
            if not size:
                continue
            # Each sees the order that its own seed gives, so that it finds what it would find alone.
            seed = getattr(options, "seed", 0)
            first = seed if first is None else first
            rows = self.rows[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
            own = held if seed == first else None
            watch = self._watches[i]
            again = functools.partial(self._fit_batches, rows, size, own, collector, progress, self._views[i])
            with watch:
                self.detectors[i].fit(Passes(again, watch))
        return held

    def _comparing(self) -> list[Comparing]:
        return [one for one in self.detectors if isinstance(one, Comparing) and one.wants_validation]

    def _show_validation(self, progress: Progress) -> None:
        """The mean validation gradient is computed once for all detectors that want it."""
        if self.validation is None:
            return
        feed = GradientFeed(self.config, self.validation, self.model, self.device)
        mean = mean_validation_gradient(feed, progress)
        for detector in self._comparing():
            detector.see_validation(mean)

    def _fit_batches(
        self,
        rows: Int64[Tensor, " n"],
        size: int,
        held: list[GradientBatch] | None,
        collector: Collector,
        progress: Progress,
        seen: View | None,
    ) -> Iterator[GradientBatch]:
        """The first ``size`` samples of ``rows`` whose gradients are finite.

        What fits in memory is kept in ``held`` for the next pass or detector of the same order and for the
        scoring.
        """
        with progress.bar("fitting", size) as advance:
            for batch in self._usable(rows, size, held, collector):
                advance(len(batch))
                yield batch if seen is None else seen.of(batch)
                del batch

    def _usable(
        self,
        rows: Int64[Tensor, " n"],
        size: int,
        held: list[GradientBatch] | None,
        collector: Collector,
    ) -> Iterator[GradientBatch]:
        given = 0
        for batch in held or ():
            if given < size:
                usable = batch.select(slice(0, size - given))
                given += len(usable)
                yield usable
        if given >= size:
            return
        seen = torch.zeros(len(self.samples), dtype=torch.bool)
        for batch in held or ():
            seen[batch.rows] = True
        seen[list(collector.quarantined)] = True
        keep = None if held is None else self._keeper(size - given)
        for batch in self.feed(rows[~seen[rows]], collector):
            good = finite(batch)
            usable = batch if good.all() else batch.select(good.nonzero()[:, 0])
            if held is not None and keep is not None and (short := keep(usable)) is not None:
                usable = short
                held.append(usable)
            usable = usable.select(slice(0, size - given))
            given += len(usable)
            yield usable
            del batch, usable  # before the next one is computed
            if given >= size:
                return

    def _keeper(self, size: int) -> Callable[[GradientBatch], GradientBatch | None]:
        """What keeps ``size`` samples in memory: as factors, as norms and some coordinates, or not at all.

        Which of them the first batch decides.
        """
        ways: list[Callable[[GradientBatch], GradientBatch | None]] = []

        def keep(batch: GradientBatch) -> GradientBatch | None:
            if not len(batch):
                return batch
            if not ways:
                ways.append(self._way(batch, size))
            return ways[0](batch)

        return keep

    def _way(self, batch: GradientBatch, size: int) -> Callable[[GradientBatch], GradientBatch | None]:
        if batch.nbytes / len(batch) * size <= _HELD_BYTES:
            return lambda batch: batch
        asked = []
        for detector, seen in zip(self.detectors, self._views, strict=True):
            if seen is not None:
                return lambda batch: None
            if isinstance(detector, Norm):
                continue
            coords = detector.coordinates(batch) if isinstance(detector, Frugal) else None
            if coords is None:
                return lambda batch: None
            asked.append(coords)
        together: Tensor = torch.unique(torch.cat(asked)).to(self.device)
        if 4 * len(together) * size > _KEPT_BYTES:
            return lambda batch: None
        return lambda batch: kept(batch, self._orders, together)

    def _score(self, batch: GradientBatch, collector: Collector) -> None:
        """Score a batch, in halves where that takes more memory than there is."""
        try:
            scores, answers, believed = self._scores(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            self.feed.halve(len(batch))
            middle = len(batch) // 2
            for half in (slice(0, middle), slice(middle, None)):
                self._score(batch.select(half), collector)
        else:
            collector.add(batch, scores, self.samples.categorical, believed)
            if self._held_out is not None:
                self._held_out.see(batch.rows, answers)

    def _scores(
        self, batch: GradientBatch
    ) -> tuple[list[Float[Tensor, " b"]], dict[str, Float[Tensor, "b a"]], Believed | None]:
        """The scores; what detectors of answers look at; and what the first of them believes."""
        if len(self._orders) > 1:
            with self._norms:
                batch.norms(self._orders)  # together they share what they are computed from
        scores, answers, believed = [], {}, None
        each = zip(self._columns, self.detectors, self._watches, self._views, strict=True)
        for name, detector, watch, seen in each:
            with watch:
                if isinstance(detector, Answering):
                    answers[name] = detector.answers(batch)
                    beliefs = detector.beliefs(answers[name], batch.labels)
                    scores.append(detector.judge(beliefs, batch.labels))
                    believed = believed or Believed.of(beliefs)
                else:
                    scores.append(detector.score(batch if seen is None else seen.of(batch)))
        return scores, answers, believed


def column_names(config: Config) -> tuple[str, ...]:
    """A name for each detector's scores: its own, numbered where it occurs more than once."""
    names: list[str] = []
    for options in config.detectors:
        name = options.column
        same = sum(
            known == name or (known.startswith(f"{name}_") and known[len(name) + 1 :].isdigit())
            for known in names
        )
        names.append(f"{name}_{same + 1}" if same else name)
    return tuple(names)
