"""The results of one checkpoint: a row a sample."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.blocks import blocks
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import NOT_FINITE, finite
from ogacli.scan.collected.columns import filled, place, tensors_in
from ogacli.verdict.findings import Findings, Probed, TrueClass


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
        return tensors_in(self)
