"""What a scan collects, row by row, while batches go by; and how it survives an interruption.

Results stay on the model's device until the end, so that no batch waits for a transfer.
"""

import functools
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli.base.atomic import holds_only
from ogacli.errors import RunError
from ogacli.gradients import GradientBatch
from ogacli.scan.held_out import HeldOut
from ogacli.scan.witness import Witness
from ogacli.verdict.verdict import Believed, Findings

NOT_FINITE = "non-finite gradient"
_KIND = "oga unfinished scan"
_DOCUMENT = "scan.json"
_FILES = (
    _DOCUMENT,
    "gathered.safetensors",
    "rows.safetensors",
    "witness.safetensors",
    "held-out.safetensors",
    "detector-*.safetensors",
)
"""What an unfinished scan holds, and nothing else."""
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
        self.entropy = torch.full((n,), torch.nan, dtype=torch.float32, device=device)
        self.believed = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.belief = torch.full((n,), torch.nan, dtype=torch.float32, device=device)
        self.done = torch.zeros(n, dtype=torch.bool)
        self.quarantined: dict[int, str] = {}

    def quarantine(self, reasons: Mapping[int, str]) -> None:
        """Remember rows that could not be read."""
        self.quarantined.update(reasons)
        self.done[list(reasons)] = True

    def add(
        self,
        batch: GradientBatch,
        scores: list[Float[Tensor, " b"]],
        categorical: bool,
        believed: Believed | None = None,
    ) -> None:
        """Remember the scores of a batch; a sample whose gradient is not finite gets none.

        Args:
            batch: Its gradients.
            scores: Of each detector.
            categorical: Whether a sample has one class.
            believed: What a detector believes to be the true classes; what the model predicts where left out.
        """
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
            self.entropy[rows] = torch.special.entr(probabilities).sum(1)
            believed = believed or Believed(predicted, confidence)
            self.believed[rows], self.belief[rows] = believed.classes, believed.confidence
        self.done[batch.rows] = True

    def contradicted(self, labels: Int64[Tensor, " n"]) -> int:
        """How many of the samples with a prediction have another label, on the CPU."""
        predictions = self.predictions.cpu()
        return int(((predictions != labels) & (predictions >= 0)).sum())

    def tensors(self) -> dict[str, Tensor]:
        """What it holds a row, by name."""
        return {
            name: getattr(self, name)
            for name in (
                "scores",
                "predictions",
                "confidence",
                "agreement",
                "entropy",
                "believed",
                "belief",
                "done",
            )
        }


class Gathered:
    """What the checkpoints found, as one: for each row the weighted mean over those that scored it.

    The predicted class is the winner of a vote in which each checkpoint gives its prediction the probability
    that it has there, and the confidence how far the winner is ahead of all others (Boyer and Moore's count:
    exact where one class has more than half of the votes, in memory that does not grow with the checkpoints).
    So is the class that a detector believes in; how sure it is of that is the mean over the checkpoints, of
    which those that believe in another one add nothing.
    """

    def __init__(self, n: int, detectors: tuple[str, ...], device: torch.device) -> None:
        self.detectors = detectors
        self.scores = torch.zeros(len(detectors), n, dtype=torch.float64, device=device)
        self.predictions = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.lead = torch.zeros(n, dtype=torch.float32, device=device)
        self.believed = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.belief_lead = torch.zeros(n, dtype=torch.float32, device=device)
        self.belief = torch.zeros(n, dtype=torch.float32, device=device)
        self.agreement = torch.zeros(n, dtype=torch.float32, device=device)
        self.entropy = torch.zeros(n, dtype=torch.float32, device=device)
        self.several = False
        self.weight = torch.zeros(n, dtype=torch.float64, device=device)
        self.quarantined: dict[int, str] = {}

    def add(self, found: Collector, rows: Int64[Tensor, " m"], weight: float = 1.0) -> None:
        """One more checkpoint's findings of these rows, finished."""
        self.quarantined |= found.quarantined
        here = rows.to(self.scores.device)
        self.several |= bool((self.weight[here] > 0).any())
        self.weight[here] += weight
        self.scores[:, here] += weight * found.scores[:, here]
        self.agreement[here] += weight * found.agreement[here]
        self.entropy[here] += weight * found.entropy[here]
        _vote(self.predictions, self.lead, here, found.predictions[here], weight * found.confidence[here])
        before, votes, worth = self.believed[here], found.believed[here], weight * found.belief[here]
        _vote(self.believed, self.belief_lead, here, votes, worth)
        after = self.believed[here]
        kept = torch.where(after == before, self.belief[here], 0)
        self.belief[here] = kept + torch.where(after == votes, worth.nan_to_num(0), 0)

    def findings(self) -> Findings:
        """All of it, on the CPU; a row that a checkpoint could not score is quarantined."""
        scores, weight = self.scores.cpu() / self.weight.cpu(), self.weight.cpu().float()
        lost = (~torch.isfinite(scores).all(0)).nonzero()[:, 0].tolist()
        quarantined = {row: self.quarantined.get(row, NOT_FINITE) for row in lost}
        scores[:, lost] = torch.nan
        predictions, believed = self.predictions.cpu(), self.believed.cpu()
        known = bool((believed >= 0).any())
        return Findings(
            scores=dict(zip(self.detectors, scores, strict=True)),
            predictions=predictions,
            confidence=(self.lead.cpu() / weight).masked_fill(predictions < 0, torch.nan),
            agreement=self.agreement.cpu() / weight,
            quarantined=quarantined,
            entropy=self.entropy.cpu() / weight,
            several=self.several,
            believed=Believed(believed, self.belief.cpu() / weight) if known else None,
        )

    def tensors(self) -> dict[str, Tensor]:
        """What it holds a row, by name."""
        return {
            name: getattr(self, name)
            for name in (
                "scores",
                "predictions",
                "lead",
                "believed",
                "belief_lead",
                "belief",
                "agreement",
                "entropy",
                "weight",
            )
        }


def _vote(
    leader: Int64[Tensor, " n"],
    lead: Float[Tensor, " n"],
    rows: Int64[Tensor, " m"],
    votes: Int64[Tensor, " m"],
    worth: Float[Tensor, " m"],
) -> None:
    """Count votes for rows, in place: those for another class than the leader are taken off its lead."""
    same = votes == leader[rows]
    ahead = lead[rows] + torch.where(same, worth, -worth).nan_to_num(0)
    leader[rows] = torch.where(ahead < 0, votes, leader[rows])
    lead[rows] = ahead.abs()


def finite(batch: GradientBatch) -> Bool[Tensor, " b"]:
    """Which samples have finite logits, residuals and features."""
    total = batch.logits.sum(1) + batch.residual.sum(1)
    if batch.features is not None:
        total = total + batch.features.flatten(1).sum(1)
    return torch.isfinite(total)


def partial_folders(output: Path) -> tuple[Path, Path]:
    """Where the unfinished scan to an output is kept, and where it is written before it is renamed."""
    return output.with_name(output.name + ".partial"), output.with_name(output.name + ".partial.new")


def check_partial(output: Path) -> None:
    """Make sure that nothing but an unfinished scan of ours stands where one is kept.

    Raises:
        RunError: Something else does; it is left alone.
    """
    for folder in partial_folders(output):
        if not _free(folder):
            raise RunError(
                "something else stands where the unfinished scan is kept",
                place=str(folder),
                expected="nothing, or an unfinished scan that this version of oga wrote",
                hint="move it away, or choose another output; it is left alone",
            )


def _free(folder: Path) -> bool:
    """Whether a place is empty, or holds what bears our mark and may be removed."""
    if not os.path.lexists(folder):
        return True
    if not holds_only(folder, _FILES):
        return False
    if not any(folder.iterdir()):
        return True
    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("kind") == _KIND


def _discard(folder: Path) -> None:
    """Remove an unfinished scan; what is none stays."""
    if os.path.lexists(folder) and _free(folder):
        shutil.rmtree(folder, ignore_errors=True)


class Partial:
    """A scan on its way, and an unfinished one on disk: the fitted detectors and the rows that were scored.

    It lies beside the output as ``<output>.partial`` and is written only once a scan has taken a minute.
    """

    def __init__(
        self,
        output: Path,
        key: str,
        n: int,
        detectors: tuple[str, ...],
        device: torch.device,
        held_out: HeldOut,
    ) -> None:
        """An empty scan.

        Args:
            output: The run directory to be.
            key: What an unfinished scan must share with the one that resumes it.
            n: How many samples.
            detectors: Their score columns.
            device: Where results are kept.
            held_out: For what folds say of the samples that they hold out.
        """
        self.folder, self._work = partial_folders(output)
        self.key = key
        self.held_out = held_out
        self._new_collector = functools.partial(Collector, n, detectors, device)
        self.gathered = Gathered(n, detectors, device)
        self.witness = Witness(n, device)
        self.collector = self._new_collector()
        self.checkpoint = 0
        """Which one is at work."""
        self._saved = time.monotonic()

    @property
    def exists(self) -> bool:
        """Whether there is something to resume."""
        return _free(self.folder) and (self.folder / _DOCUMENT).is_file()

    def _checked(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document["key"] != self.key:
            raise RunError(
                "the unfinished scan is of another config, dataset or checkpoint",
                place=str(self.folder),
                hint="restore what was changed, or leave out --resume to begin anew",
            )
        return document

    def save(self, states: list[dict[str, Tensor]], *, now: bool = False) -> None:
        """Write what there is, if the last time is long enough ago (or ``now``)."""
        if not now and time.monotonic() - self._saved < _SAVE_EVERY:
            return
        work = self._work
        if not (_free(work) and _free(self.folder)):
            return  # it came after the check at the start: the scan goes on, and cannot be resumed
        _discard(work)
        work.mkdir(parents=True)
        # The mark comes first: an interruption while the rest is written must leave what we know as ours.
        (work / _DOCUMENT).write_text(json.dumps({"kind": _KIND}), encoding="utf-8")
        for name, part in self._parts().items():
            save_file({k: v.cpu() for k, v in part.tensors().items()}, work / f"{name}.safetensors")
        for i, state in enumerate(states):
            save_file({k: v.cpu().contiguous() for k, v in state.items()}, work / f"detector-{i}.safetensors")
        document: dict[str, Any] = {
            "kind": _KIND,
            "key": self.key,
            "checkpoint": self.checkpoint,
            "fitted": bool(states),
            "quarantined": list((self.gathered.quarantined | self.collector.quarantined).items()),
        }
        (work / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        self.remove()
        work.rename(self.folder)
        self._saved = time.monotonic()

    def load(self) -> list[dict[str, Tensor]]:
        """Be as far as what was saved; returns the detectors' states, none where they were not fitted yet.

        Raises:
            RunError: It is of another config, dataset or checkpoint.
        """
        document = self._checked()
        for name, part in self._parts().items():
            for key, tensor in load_file(self.folder / f"{name}.safetensors").items():
                getattr(part, key).copy_(tensor)
        self.checkpoint = document["checkpoint"]
        self.collector.quarantined.update(dict(document["quarantined"]))
        count = len(self.collector.detectors) if document["fitted"] else 0
        return [load_file(self.folder / f"detector-{i}.safetensors") for i in range(count)]

    def _parts(self) -> dict[str, Gathered | Collector | Witness | HeldOut]:
        return {
            "gathered": self.gathered,
            "rows": self.collector,
            "witness": self.witness,
            "held-out": self.held_out,
        }

    def next(self, rows: Int64[Tensor, " m"], weight: float) -> None:
        """Another checkpoint comes; what the last one found of these rows is finished."""
        self.gathered.add(self.collector, rows, weight)
        self.checkpoint += 1
        self.collector = self._new_collector()

    def remove(self) -> None:
        """Forget it."""
        _discard(self.folder)
