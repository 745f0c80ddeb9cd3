"""The evidence of label detectors for held-out samples, so that one detector is fitted to all folds.

In: the evidence of each sample, batch by batch. Out: scores and true classes by a detector that is fitted
to all folds at once. One fold alone has few samples, and the scores of different folds differ in scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.data import Samples
from ogacli.detectors import LabelDetector
from ogacli.verdict.findings import Findings, TrueClass

_BYTES = 256 << 20
"""Evidence that may be held; beyond that the detectors of the single folds decide."""

_AT_ONCE = 1 << 20
"""Numbers of the evidence that are looked at together."""


class Evidence:
    """The evidence of n samples, two numbers a class."""

    def __init__(self, n: int, k: int, names: Sequence[str], device: torch.device) -> None:
        """Room for the evidence.

        Args:
            n: How many samples.
            k: How many classes.
            names: The score columns of the label detectors; empty: nothing is kept.
            device: Where to keep it.
        """
        self.names = names
        width = 2 * k if k > 1 and 8 * n * k * len(names) <= _BYTES else 0
        self.values = torch.full((len(names), n, width), torch.nan, device=device)

    @property
    def kept(self) -> bool:
        """Whether any evidence is kept."""
        return self.values.numel() > 0

    def add(self, rows: Int64[Tensor, " b"], evidence: Mapping[str, Float[Tensor, "b 2q"]]) -> None:
        """Keep the evidence of some samples; outputs beyond the classes of the data are left out."""
        if not self.kept:
            return
        k = self.values.shape[2] // 2
        for kept, name in zip(self.values, self.names, strict=True):
            of_classes = torch.stack(evidence[name].chunk(2, 1), 1)[:, :, :k]
            kept[rows.to(kept.device)] = of_classes.flatten(1).float()

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """The evidence of some rows, by name."""
        return {"values": self.values[:, rows.to(self.values.device)]}

    def put(self, rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned."""
        self.values[:, rows.to(self.values.device)] = found["values"].to(self.values.device)

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        return {"values": self.values}

    def judged(
        self, findings: Findings, samples: Samples, detectors: Mapping[str, LabelDetector]
    ) -> Findings:
        """The findings with the scores of refitted detectors, and the true classes by the first of them.

        Args:
            findings: By the detectors of the single folds.
            samples: The dataset.
            detectors: Unfitted, by score column.
        """
        scores, true_class = dict(findings.scores), findings.true_class
        for number, (evidence, name) in enumerate(zip(self.values, self.names, strict=True)):
            known = evidence.isfinite().all(1).cpu() & ~scores[name].isnan()
            if not evidence.shape[1] or not known.any():
                continue
            here = evidence if known.all() else evidence[known.to(evidence.device)]
            wrong, found = _judged(detectors[name], here, samples.labels[known].to(evidence.device))
            scores[name] = scores[name].masked_scatter(known, wrong.to(scores[name].dtype))
            if not number and true_class is not None:
                true_class = true_class.replaced(known, found)
            if not number and (signals := detectors[name].signals) is not None:
                findings = replace(findings, signals=((1.0, signals),))
        return replace(findings, scores=scores, true_class=true_class)


def _judged(
    detector: LabelDetector, evidence: Float[Tensor, "n 2k"], labels: Int64[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], TrueClass]:
    """Refit a detector; the probability of a wrong label and the true class of each sample, on the CPU."""
    detector.refit(evidence, labels)
    size = max(1, _AT_ONCE // evidence.shape[1])
    wrong, true = [], []
    for part, given in zip(evidence.split(size), labels.split(size), strict=True):
        log_probabilities = detector.true_class(part, given)
        wrong.append(detector.wrong(log_probabilities, given).cpu())
        true.append(TrueClass.of(log_probabilities.cpu()))
    return torch.cat(wrong), TrueClass.joined(true)
