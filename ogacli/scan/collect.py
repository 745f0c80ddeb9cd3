"""Collect the results of each sample.

In: gradient batches with their scores, one checkpoint after the other. Out: ``Findings``. Results stay on the
model's device until the end, so that no batch waits for a transfer to the host.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.blocks import blocks
from ogacli.base.json_tensor import of_json, to_json
from ogacli.data import Samples
from ogacli.data.boxes import BoxCounts
from ogacli.data.label_types import LabelType, PixelClasses
from ogacli.detectors._state import under
from ogacli.detectors.label_noise.signals import Signals
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import NOT_FINITE, Step, finite
from ogacli.models.tasks import Task
from ogacli.scan.boxes import DoubtfulBoxes
from ogacli.scan.cells import DoubtfulCells
from ogacli.scan.columns import filled, place
from ogacli.scan.evidence import Evidence
from ogacli.scan.features import Features
from ogacli.scan.inputs import InputNotes
from ogacli.scan.regions import DoubtfulRegions
from ogacli.scan.scorers import Scored
from ogacli.scan.top import Kept, TopSamples
from ogacli.verdict.diagnosis import NOT_DIAGNOSED, CheckpointDiagnosis, Diagnosis, worth
from ogacli.verdict.findings import Findings, Probed, TrueClass

_DOUBTFUL: Mapping[type[LabelType], type[DoubtfulCells]] = {
    PixelClasses: DoubtfulRegions,
    BoxCounts: DoubtfulBoxes,
}
"""What holds the cells of a type of label."""


class Collector:
    """The results of n samples: of the current checkpoint, and summed over those that are done."""

    def __init__(
        self,
        samples: Samples,
        columns: Sequence[str],
        device: torch.device,
        *,
        evidence_of: Sequence[str] = (),
        several: bool = True,
        cells: int = 0,
        sketching: bool = False,
        features: bool = False,
    ) -> None:
        """Room for the results.

        Args:
            samples: What is scanned.
            columns: The score columns.
            device: Where results are kept.
            evidence_of: The columns of label detectors that will be refitted to all folds.
            several: Whether there are several checkpoints; the results of a single one are not summed.
            cells: Cells of each label that are judged.
            sketching: Whether sketches of the inputs are kept.
            features: Whether the features of all samples are kept.
        """
        n = len(samples)
        self.several = several
        self.samples = samples
        self.columns = tuple(columns)
        self.device = device
        self.rows = Rows(n, len(columns), device)
        self.totals = Totals(n if several else 0, len(columns), device)
        kind = _DOUBTFUL.get(type(samples.label_type), DoubtfulCells)
        self.cells = kind(n, cells, device)
        self.cell_totals = kind(n if several else 0, cells, device)
        self.inputs = InputNotes(n, device, labels=not samples.label_type.held, sketching=sketching)
        self.features = Features(n if features else 0, device)
        self.top = TopSamples(n, self.inputs.places, len(self.inputs.rows), device)
        self.evidence = Evidence(n, len(samples.classes), evidence_of, device)
        self.checkpoints: list[CheckpointDiagnosis] = []
        """Those that are done."""
        self.signals: list[tuple[float, Signals]] = []
        """Of the checkpoints that count, with their weights: what tells label noise from mistakes."""
        self.rescored: tuple[int, int] | None = None
        """After a pass in lower precision: how many samples were scored again in float32, and how many of
        them became flagged or are no longer; summed over the checkpoints."""

    def note(self, step: Step) -> None:
        """Note the inputs of a batch, and which of its samples could not be read."""
        self.rows.quarantine(step.batch.quarantined)
        self.inputs.add(step, self.samples)

    def add(self, batch: GradientBatch, scored: Scored, task: Task) -> None:
        """Keep the results of a batch; a sample whose gradient is not finite gets no score.

        The scores come last, since they mark the samples as done: an interruption before that repeats them.
        """
        one_class = self.samples.class_index is not None
        if one_class and (found := task.class_probabilities(batch.logits)) is not None:
            self.rows.predict(batch, found, scored.true_class)
        elif (probability := task.label_probability(batch.logits, batch.labels)) is not None:
            self.rows.probability[batch.places] = probability
        self.evidence.add(batch.places, scored.evidence)
        if scored.cells is not None:
            self.cells.set(batch.rows, scored.cells)
        self.top.add(batch, scored.scores[0], len(self.checkpoints))
        self.features.add(batch, len(self.checkpoints))
        self.rows.add(batch, scored.scores)

    def next_checkpoint(
        self,
        rows: Int64[Tensor, " m"],
        weight: float,
        *,
        name: str = "",
        diagnosis: Diagnosis = NOT_DIAGNOSED,
        alone: bool = True,
        signals: Signals | None = None,
    ) -> None:
        """Add the current checkpoint's results for ``rows`` to the totals, where it counts; begin the next.

        Args:
            rows: The samples that it scored.
            weight: Of its results.
            name: Of the checkpoint.
            diagnosis: Of its results.
            alone: Whether no other checkpoint scores these samples. Otherwise only those checkpoints count
                that are worth most; the results of earlier ones that are worth less are dropped.
            signals: By its label detector.
        """
        n, columns = len(self.samples), len(self.columns)
        best = max((worth(one.diagnosis) for one in self.checkpoints), default=-1)
        counts = alone or worth(diagnosis) >= best
        if counts and not alone and worth(diagnosis) > best:
            self.totals = Totals(n, columns, self.device)
            self.cell_totals = self.cells.emptied()
            self.signals = []
            self.checkpoints = [one.model_copy(update={"counts": False}) for one in self.checkpoints]
        self.top.next_checkpoint(counts=counts, alone=alone)
        if counts:
            if self.several:
                self.totals.add(self.rows, rows, weight)
                self.cell_totals.add(self.cells, rows, weight)
            if signals is not None:
                self.signals.append((weight * len(rows), signals))
        self.checkpoints.append(CheckpointDiagnosis(name=name, counts=counts, diagnosis=diagnosis))
        if self.several:
            self.rows = Rows(n, columns, self.device)
            self.cells = self.cells.emptied()

    def unlearned_share(self) -> float | None:
        """The share of the given labels that the current checkpoint does not predict.

        At least one label counts as not predicted. None where samples do not have one class each.
        """
        known = int((self.rows.predictions >= 0).count_nonzero())
        return max(1, self.contradicted()) / known if known else None

    def contradicted(self) -> int:
        """How many given labels the current checkpoint does not predict."""
        predictions = self.rows.predictions.cpu()
        labels = self.samples.class_index
        return 0 if labels is None else int(((predictions != labels) & (predictions >= 0)).count_nonzero())

    def findings(self) -> Findings:
        """The results of all checkpoints that count, on the CPU."""
        results = self.totals if self.several else self.rows
        cells = self.cell_totals.findings(self.totals.weight) if self.several else self.cells.findings()
        return replace(results.findings(self.columns), signals=tuple(self.signals), cells=cells)

    def current(self) -> Findings:
        """The predictions of the current checkpoint, on the CPU."""
        return self.rows.predicted(self.top.probed(current=True))

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """The current checkpoint's results for some rows, for the collector of another process."""
        found = {
            f"{name}/{key}": one
            for name, part in self._by_row().items()
            for key, one in part.found(rows).items()
        }
        unread = torch.tensor(list(self.rows.quarantined), dtype=torch.int64)
        reasons = {row: self.rows.quarantined[row] for row in unread[torch.isin(unread, rows)].tolist()}
        return found | {"index": rows, "quarantined": to_json(list(reasons.items()))}

    def put(self, found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned in another process."""
        rows = found["index"]
        for name, part in self._by_row().items():
            part.put(rows, under(f"{name}/", found))
        self.rows.quarantined.update(of_json(found["quarantined"]))

    def take(self, other: "Collector") -> None:
        """Take what another process has found by the same checkpoint for samples that are not done here."""
        self.put(other.found((other.rows.done & ~self.rows.done).nonzero()[:, 0]))

    def emptied(self) -> "Collector":
        """Room for the same results."""
        return Collector(
            self.samples,
            self.columns,
            self.device,
            evidence_of=self.evidence.names,
            several=self.several,
            cells=self.cells.index.shape[1],
            sketching=self.inputs.sketching,
            features=len(self.features.checkpoint) > 0,
        )

    def _by_row(self) -> "Mapping[str, Rows | DoubtfulCells | InputNotes | Features | Evidence | TopSamples]":
        """What holds the current checkpoint's results; the rows come last, which mark samples as done."""
        return {
            "cells": self.cells,
            "inputs": self.inputs,
            "features": self.features,
            "evidence": self.evidence,
            "top": self.top,
            "rows": self.rows,
        }

    def parts(
        self,
    ) -> Mapping[str, "Rows | Totals | DoubtfulCells | InputNotes | Features | Evidence | Kept"]:
        """What an unfinished scan saves, by name."""
        return {
            "rows": self.rows,
            "totals": self.totals,
            "cells": self.cells,
            "cell-totals": self.cell_totals,
            "inputs": self.inputs,
            "features": self.features,
            "evidence": self.evidence,
            **self.top.parts(),
        }


class Rows:
    """The results of one checkpoint for n samples, filled in any order."""

    def __init__(self, n: int, detectors: int, device: torch.device) -> None:
        self.scores = filled(detectors * n, torch.float64, math.nan, device).view(detectors, n)
        self.predictions = filled(n, torch.int64, -1, device)
        self.prediction_probability = filled(n, torch.float32, math.nan, device)
        self.probability = filled(n, torch.float32, math.nan, device)
        self.entropy = filled(n, torch.float32, math.nan, device)
        self.true_class = filled(n, torch.int64, -1, device)
        self.confidence = filled(n, torch.float32, math.nan, device)
        self.done = filled(n, torch.bool, False)
        self.quarantined: dict[int, str] = {}

    def quarantine(self, reasons: Mapping[int, str]) -> None:
        """Note rows that could not be read."""
        self.quarantined.update(reasons)
        self.done[list(reasons)] = True

    def add(self, batch: GradientBatch, scores: Sequence[Float[Tensor, " b"]]) -> None:
        """Keep the scores of a batch, a column each."""
        rows = place(batch.rows, self.scores.device)
        broken = ~finite(batch)
        for own, found in zip(self.scores, scores, strict=True):
            own[rows] = found.to(own.dtype).masked_fill(broken, torch.nan)
        self.done[place(batch.rows, self.done.device)] = True

    def predict(
        self, batch: GradientBatch, probabilities: Float[Tensor, "b k"], true_class: TrueClass | None
    ) -> None:
        """Keep class probabilities and the most probable true class, by default the predicted one."""
        if probabilities.shape[1] < 2:
            return
        rows = place(batch.rows, self.scores.device)
        highest, predicted = probabilities.max(1)
        self.predictions[rows] = predicted
        self.prediction_probability[rows] = highest
        self.probability[rows] = probabilities.gather(1, batch.labels[:, None])[:, 0]
        self.entropy[rows] = torch.special.entr(probabilities).sum(1)
        true = true_class or TrueClass(predicted, highest)
        self.true_class[rows], self.confidence[rows] = true.classes, true.confidence

    def findings(self, columns: Sequence[str]) -> Findings:
        """The results, on the CPU; a row that has no finite score is quarantined. The scores are changed."""
        lost: list[int] = []
        for block in blocks(len(self.done)):
            broken = (~torch.isfinite(self.scores[:, block]).all(0)).nonzero()[:, 0]
            self.scores[:, block.start + broken] = math.nan
            self.confidence[block].nan_to_num_(0.0)
            lost += (block.start + broken).tolist()
        true_class = self.true_class.cpu()
        known = any(bool((true_class[block] >= 0).any()) for block in blocks(len(true_class)))
        return Findings(
            scores=dict(zip(columns, self.scores.cpu(), strict=True)),
            predictions=self.predictions.cpu(),
            prediction_probability=self.prediction_probability.cpu(),
            probability=self.probability.cpu(),
            quarantined={row: self.quarantined.get(row, NOT_FINITE) for row in lost},
            entropy=self.entropy.cpu(),
            true_class=TrueClass(true_class, self.confidence.cpu()) if known else None,
        )

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """The results of some rows, by name."""
        return {name: column[..., rows.to(column.device)] for name, column in self.tensors().items()}

    def put(self, rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned."""
        for name, column in self.tensors().items():
            column[..., rows.to(column.device)] = found[name].to(column.device)

    def predicted(self, probed: Probed) -> Findings:
        """The predictions, without scores, on the CPU."""
        return Findings(
            scores={},
            predictions=self.predictions.cpu(),
            prediction_probability=self.prediction_probability.cpu(),
            probability=self.probability.cpu(),
            quarantined=self.quarantined,
            probed=probed,
        )

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        return _tensors(self)


class Totals:
    """Weighted sums over the checkpoints that are done; a row counts those that scored it.

    The predicted class is a majority vote in which each checkpoint's prediction weighs its probability. It is
    counted by the algorithm of Boyer and Moore: exact where one class has more than half of the votes, in
    memory that does not grow with the checkpoints; ``lead`` is by how much the winner is ahead of all
    others. The most probable true class is voted for in the same way; its confidence is the mean over the
    checkpoints, of which those with another class add nothing.
    """

    def __init__(self, n: int, detectors: int, device: torch.device) -> None:
        self.scores = torch.zeros(detectors, n, dtype=torch.float64, device=device)
        self.predictions = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.lead = torch.zeros(n, device=device)
        self.true_class = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.true_class_lead = torch.zeros(n, device=device)
        self.confidence = torch.zeros(n, device=device)
        self.probability = torch.zeros(n, device=device)
        self.entropy = torch.zeros(n, device=device)
        self.weight = torch.zeros(n, dtype=torch.float64, device=device)
        self.several = torch.zeros((), dtype=torch.bool)
        """Whether some row was scored by more than one checkpoint."""
        self.quarantined: dict[int, str] = {}

    def add(self, found: Rows, rows: Int64[Tensor, " m"], weight: float = 1.0) -> None:
        """Add one more checkpoint's results for these rows."""
        self.quarantined |= found.quarantined
        here = rows.to(self.scores.device)
        self.several |= (self.weight[here] > 0).any().cpu()
        self.weight[here] += weight
        self.scores[:, here] += weight * found.scores[:, here]
        self.probability[here] += weight * found.probability[here]
        self.entropy[here] += weight * found.entropy[here]
        votes = weight * found.prediction_probability[here]
        _vote(self.predictions, self.lead, here, found.predictions[here], votes)
        before, voted = self.true_class[here], found.true_class[here]
        votes = weight * found.confidence[here]
        _vote(self.true_class, self.true_class_lead, here, voted, votes)
        after = self.true_class[here]
        kept = torch.where(after == before, self.confidence[here], 0)
        self.confidence[here] = kept + torch.where(after == voted, votes.nan_to_num(0), 0)

    def findings(self, columns: Sequence[str]) -> Findings:
        """The means, on the CPU; a row that some checkpoint could not score is quarantined."""
        scores, weight = self.scores.cpu() / self.weight.cpu(), self.weight.cpu().float()
        lost = (~torch.isfinite(scores).all(0)).nonzero()[:, 0].tolist()
        scores[:, lost] = torch.nan
        predictions, true_class = self.predictions.cpu(), self.true_class.cpu()
        known = bool((true_class >= 0).any())
        return Findings(
            scores=dict(zip(columns, scores, strict=True)),
            predictions=predictions,
            prediction_probability=(self.lead.cpu() / weight).masked_fill(predictions < 0, torch.nan),
            probability=self.probability.cpu() / weight,
            quarantined={row: self.quarantined.get(row, NOT_FINITE) for row in lost},
            entropy=self.entropy.cpu() / weight,
            several=bool(self.several),
            true_class=TrueClass(true_class, self.confidence.cpu() / weight) if known else None,
        )

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        return _tensors(self)


def _tensors(columns: Rows | Totals) -> dict[str, Tensor]:
    return {name: value for name, value in vars(columns).items() if isinstance(value, Tensor)}


def _vote(
    leader: Int64[Tensor, " n"],
    lead: Float[Tensor, " n"],
    rows: Int64[Tensor, " m"],
    votes: Int64[Tensor, " m"],
    weights: Float[Tensor, " m"],
) -> None:
    """Count votes for rows, in place: a vote for another class than the leader reduces its lead."""
    same = votes == leader[rows]
    ahead = lead[rows] + torch.where(same, weights, -weights).nan_to_num(0)
    leader[rows] = torch.where(ahead < 0, votes, leader[rows])
    lead[rows] = ahead.abs()
