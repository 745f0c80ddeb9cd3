"""Collect the results of each sample.

In: gradient batches with their scores, one checkpoint after the other. Out: ``Findings``. Results stay on the
model's device until the end, so that no batch waits for a transfer to the host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.documents.json_tensor import of_json, to_json
from ogacli.data import Samples
from ogacli.data.images.boxes import BoxCounts
from ogacli.data.labels.label_types import LabelType, PixelClasses
from ogacli.detectors._state import under
from ogacli.detectors.label_noise.signals import Signals
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import Step
from ogacli.models.tasks import Task
from ogacli.scan.collected.boxes import DoubtfulBoxes
from ogacli.scan.collected.cells import DoubtfulCells
from ogacli.scan.collected.evidence import Evidence
from ogacli.scan.collected.features import Features
from ogacli.scan.collected.inputs import InputNotes
from ogacli.scan.collected.regions import DoubtfulRegions
from ogacli.scan.collected.rows import Rows
from ogacli.scan.collected.top import Kept, TopSamples
from ogacli.scan.collected.totals import Totals
from ogacli.scan.scorers import Scored
from ogacli.verdict.diagnosis import NOT_DIAGNOSED, CheckpointDiagnosis, Diagnosis, worth
from ogacli.verdict.findings import Findings

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
