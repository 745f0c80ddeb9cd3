"""What a scan collects, row by row, while batches go by; and how it survives an interruption.

Results stay on the model's device until the end, so that no batch waits for a transfer.
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli.errors import RunError
from ogacli.gradients import GradientBatch
from ogacli.verdict import Findings

NOT_FINITE = "non-finite gradient"
_SAVE_EVERY = 60.0
"""Seconds between two savings of an unfinished scan."""


class Collector:
    """Scores, predictions and failures of n samples, filled in any order."""

    def __init__(self, n: int, detectors: tuple[str, ...], device: torch.device) -> None:
        self.detectors = detectors
        self.scores = torch.full((len(detectors), n), torch.nan, dtype=torch.float64, device=device)
        self.predictions = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.confidence = torch.full((n,), torch.nan, dtype=torch.float32, device=device)
        self.agreement = torch.full((n,), torch.nan, dtype=torch.float32, device=device)
        self.done = torch.zeros(n, dtype=torch.bool)
        self.quarantined: dict[int, str] = {}

    def quarantine(self, reasons: Mapping[int, str]) -> None:
        """Remember rows that could not be read."""
        self.quarantined.update(reasons)
        self.done[list(reasons)] = True

    def add(self, batch: GradientBatch, scores: list[Float[Tensor, " b"]], categorical: bool) -> None:
        """Remember the scores of a batch; a sample whose gradient is not finite gets none."""
        rows = batch.rows.to(self.scores.device)
        broken = ~finite(batch)
        for own, found in zip(self.scores, scores, strict=True):
            own[rows] = found.to(own.dtype).masked_fill(broken, torch.nan)
        if categorical and batch.logits.shape[1] > 1:
            probabilities = torch.softmax(batch.logits, 1)
            confidence, predicted = probabilities.max(1)
            self.predictions[rows] = predicted
            self.confidence[rows] = confidence
            self.agreement[rows] = probabilities.gather(1, batch.labels[:, None])[:, 0]
        self.done[batch.rows] = True

    def findings(self) -> Findings:
        """All of it, on the CPU; a row without a score is quarantined."""
        scores = self.scores.cpu()
        lost = (~torch.isfinite(scores).all(0)).nonzero()[:, 0].tolist()
        quarantined = {row: self.quarantined.get(row, NOT_FINITE) for row in lost}
        scores[:, lost] = torch.nan
        return Findings(
            scores=dict(zip(self.detectors, scores, strict=True)),
            predictions=self.predictions.cpu(),
            confidence=self.confidence.cpu(),
            agreement=self.agreement.cpu(),
            quarantined=quarantined,
        )


def finite(batch: GradientBatch) -> Bool[Tensor, " b"]:
    """Which samples have finite logits, residuals and features."""
    total = batch.logits.sum(1) + batch.residual.sum(1)
    if batch.features is not None:
        total = total + batch.features.flatten(1).sum(1)
    return torch.isfinite(total)


class Partial:
    """An unfinished scan on disk: the fitted detectors and the rows that have been scored.

    It lies beside the output as ``<output>.partial`` and is written only once a scan has taken a minute.
    """

    def __init__(self, output: Path, key: str) -> None:
        self.folder = output.with_name(output.name + ".partial")
        self.key = key
        self._saved = time.monotonic()

    @property
    def exists(self) -> bool:
        """Whether there is something to resume."""
        return (self.folder / "scan.json").is_file()

    def check(self) -> None:
        """Make sure that the unfinished scan is of the same config, data and checkpoint.

        Raises:
            RunError: It is not.
        """
        found = json.loads((self.folder / "scan.json").read_text(encoding="utf-8"))
        if found["key"] != self.key:
            raise RunError(
                "the unfinished scan is of another config, dataset or checkpoint",
                place=str(self.folder),
                hint="restore what was changed, or leave out --resume to begin anew",
            )

    def save(self, collector: Collector, states: list[dict[str, Tensor]], *, now: bool = False) -> None:
        """Write what there is, if the last time is long enough ago (or ``now``)."""
        if not now and time.monotonic() - self._saved < _SAVE_EVERY:
            return
        work = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        tensors = {
            name: getattr(collector, name).cpu()
            for name in ("scores", "predictions", "confidence", "agreement", "done")
        }
        save_file(tensors, work / "rows.safetensors")
        for i, state in enumerate(states):
            save_file({k: v.cpu().contiguous() for k, v in state.items()}, work / f"detector-{i}.safetensors")
        document: dict[str, Any] = {"key": self.key, "quarantined": list(collector.quarantined.items())}
        (work / "scan.json").write_text(json.dumps(document), encoding="utf-8")
        self.remove()
        work.rename(self.folder)
        self._saved = time.monotonic()

    def load(self, collector: Collector) -> list[dict[str, Tensor]]:
        """Fill the collector with what was scored, and return the detectors' states."""
        rows = load_file(self.folder / "rows.safetensors")
        for name, tensor in rows.items():
            getattr(collector, name).copy_(tensor)
        document = json.loads((self.folder / "scan.json").read_text(encoding="utf-8"))
        collector.quarantined.update(dict(document["quarantined"]))
        return [load_file(self.folder / f"detector-{i}.safetensors") for i in range(len(collector.detectors))]

    def remove(self) -> None:
        """Forget it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def unseen(collector: Collector) -> Int64[Tensor, " m"]:
    """The rows that are still to be scored, ascending."""
    return (~collector.done).nonzero()[:, 0]
