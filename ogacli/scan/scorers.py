"""The detectors of a scan, each with its score column, its layers and its time.

In: gradient batches. Out: the scores of all detectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.data import Samples
from ogacli.detectors import Detector, DetectorOptions, LabelDetector, LayeredOptions, Needs
from ogacli.detectors._cells import CellDetector, Cells
from ogacli.detectors.label_noise.signals import Signals
from ogacli.gradients import GradientBatch, Gradients
from ogacli.gradients.view import View, view
from ogacli.scan.stopwatch import Stopwatch
from ogacli.verdict.findings import TrueClass

_AT_ONCE = 1 << 20
"""Probabilities of classes that a label detector computes at a time: 8 MB in float64."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The results of all detectors for one batch."""

    scores: Sequence[Float[Tensor, " b"]]
    """One tensor a detector."""
    evidence: Mapping[str, Float[Tensor, "b 2k"]]
    """The evidence of each label detector, by score column; empty where it is not kept."""
    true_class: TrueClass | None
    """The most probable true class, by the first label detector."""
    cells: Cells | None = None
    """The judgement on each cell of the labels, by the first cell detector."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """One detector."""

    column: str
    detector: Detector
    view: View | None
    """The layers that it is restricted to; None: all."""
    watch: Stopwatch

    def of(self, batch: GradientBatch) -> GradientBatch:
        """The batch as the detector sees it."""
        return batch if self.view is None else self.view.of(batch)


class Scorers:
    """All detectors of a scan, for one set of weights.

    Args:
        options: One or more; the first decides what is flagged.
        gradients: Computes the gradients that they will score.
        keep_evidence: Whether the evidence of label detectors is needed later.
        held_out: Whether the weights were not trained on the samples that are scored.
        samples: What is scanned.
    """

    def __init__(
        self,
        options: Sequence[DetectorOptions],
        gradients: Gradients,
        *,
        keep_evidence: bool = False,
        held_out: bool = False,
        samples: Samples | None = None,
    ) -> None:
        self.options = options
        self._keep_evidence = keep_evidence
        self.each = [
            Scorer(column, one.detector(), _view(one, gradients), Stopwatch())
            for column, one in zip(column_names(options), options, strict=True)
        ]
        for one in self.each:
            if isinstance(one.detector, LabelDetector | CellDetector):
                one.detector.held_out = held_out
            if samples is not None:
                one.detector.see_samples(samples)
        self._norms = Stopwatch()

    def score(self, batch: GradientBatch) -> Scored:
        """The scores of a batch by all detectors, which are fitted."""
        if len(self._orders) > 1:
            with self._norms:
                batch.norms(self._orders)  # computed together they share most of the work
        scores, evidence, true_class, cells = [], {}, None, None
        for one in self.each:
            with one.watch:
                if isinstance(one.detector, LabelDetector):
                    seen, wrong, found = self._judged(one.detector, batch)
                    scores.append(wrong)
                    true_class = true_class or found
                    if seen is not None:
                        evidence[one.column] = seen
                elif isinstance(one.detector, CellDetector):
                    judged = one.detector.cells(batch)
                    scores.append(judged.score)
                    cells = cells or judged
                else:
                    scores.append(one.detector.score(one.of(batch)))
        return Scored(scores, evidence, true_class, cells)

    def _judged(
        self, detector: LabelDetector, batch: GradientBatch
    ) -> tuple[Float[Tensor, "b 2k"] | None, Float[Tensor, " b"], TrueClass]:
        """Evidence, probability of a wrong label, and true class; of many classes a few samples at a time."""
        size = max(1, _AT_ONCE // batch.logits.shape[1])
        evidence, wrong, true = [], [], []
        for start in range(0, len(batch), size):
            part = batch.select(slice(start, start + size)) if len(batch) > size else batch
            if self._keep_evidence:
                evidence.append(detector.evidence(part))
                log_probabilities = detector.true_class(evidence[-1], part.labels)
            else:
                log_probabilities = detector.true_class_of(part)
            wrong.append(detector.wrong(log_probabilities, part.labels))
            true.append(TrueClass.of(log_probabilities))
        return torch.cat(evidence) if evidence else None, torch.cat(wrong), TrueClass.joined(true)

    @property
    def _label_detectors(self) -> list[LabelDetector]:
        return [one.detector for one in self.each if isinstance(one.detector, LabelDetector)]

    @property
    def signals(self) -> Signals | None:
        """What the first label detector tells about label noise."""
        return next((one.signals for one in self._label_detectors), None)

    @cached_property
    def _orders(self) -> tuple[int, ...]:
        """The orders of the norms of the whole gradient that the fitted detectors read.

        Found once, as a forest collects its coordinates for it, which on a GPU would stall each batch.
        """
        return Needs.union(one.detector.needs() for one in self.each if one.view is None).norms

    def finish(self, scores: Float[Tensor, "detectors n"], labels: Tensor) -> None:
        """Apply each detector's last step to the scores, in place; it may need those of all samples."""
        for column, one in zip(scores, self.each, strict=True):
            if not one.detector.finishes:
                continue
            known = torch.isfinite(column)
            with one.watch:
                column[known] = one.detector.finish(column[known], labels[known])

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """What all detectors together read of gradient batches.

        Args:
            batch: Before fitting: what fitting and scoring read of batches like it. Left out, once they are
                fitted: what scoring reads.
        """
        several = []
        for one in self.each:
            if batch is not None and one.view is not None:
                return Needs(everything=True)  # norms of some layers are not known from those of all
            needs = one.detector.needs(batch)
            if one.view is not None and needs.coordinates is not None:
                needs = Needs(needs.norms, one.view.among_all(needs.coordinates), needs.everything)
            several.append(needs)
        return Needs.union(several)

    def states(self) -> list[dict[str, Tensor]]:
        """The fitted state of each detector."""
        return [one.detector.state() for one in self.each]

    def restore(self, states: Sequence[Sequence[Mapping[str, Tensor]]], n: int) -> None:
        """Take the states of fitted detectors, of one or several processes, to score n samples."""
        for one, state in zip(self.each, states[0], strict=True):
            one.detector.fit_size(n)
            one.detector.restore(state)
        self.join(states[1:])

    def join(self, states: Sequence[Sequence[Mapping[str, Tensor]]]) -> None:
        """Take what the same detectors have noted in other processes while they scored."""
        for number, one in enumerate(self.each):
            one.detector.join([several[number] for several in states])

    def seconds(self) -> dict[str, float]:
        """The time of each detector beyond that of the gradients; norms share theirs."""
        norms = [one.view is None and bool(one.detector.needs().norms) for one in self.each]
        shared = self._norms.total / max(1, sum(norms))
        return {
            one.column: round(one.watch.total + shared * norm, 4)
            for one, norm in zip(self.each, norms, strict=True)
        }

    def overlaps(self, share: float) -> dict[str, float]:
        """The split-half stability of randomised detectors, when such a share of the samples is flagged."""
        overlaps = {one.column: one.detector.overlap(share) for one in self.each}
        return {column: overlap for column, overlap in overlaps.items() if overlap is not None}


def label_detectors(options: Sequence[DetectorOptions]) -> dict[str, LabelDetector]:
    """New, unfitted label detectors by score column."""
    columns = zip(column_names(options), (one.detector() for one in options), strict=True)
    return {column: detector for column, detector in columns if isinstance(detector, LabelDetector)}


def column_names(options: Sequence[DetectorOptions]) -> tuple[str, ...]:
    """A name for each detector's scores: its own, numbered where it occurs more than once."""
    names: list[str] = []
    for one in options:
        name = one.column
        same = sum(
            known == name or (known.startswith(f"{name}_") and known[len(name) + 1 :].isdigit())
            for known in names
        )
        names.append(f"{name}_{same + 1}" if same else name)
    return tuple(names)


def _view(options: DetectorOptions, gradients: Gradients) -> View | None:
    layers = options.layers if isinstance(options, LayeredOptions) else None
    return None if layers is None else view(gradients, layers)
