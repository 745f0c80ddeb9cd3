"""What each fold said of the samples that it held out, so that they can be judged together.

In: batches of gradients. Out: the logits of every sample, and the scores of detectors that look at nothing
else, fitted to all folds at once: each fold alone has few samples, and its scores another scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ogacli.data import Samples
from ogacli.detectors import Answering, DetectorOptions
from ogacli.gradients import GradientBatch
from ogacli.verdict import Findings

_BYTES = 256 << 20
"""Logits that may be held; beyond that each fold is judged by itself."""


class HeldOut:
    """Logits of n samples, one for each of their classes."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        """Room for logits.

        Args:
            n: How many samples.
            k: How many classes; 0 where nothing is to be kept.
            device: Where to keep them.
        """
        k = 0 if k < 2 or 4 * n * k > _BYTES else k
        self.logits = torch.full((n, k), torch.nan, device=device)

    def see(self, batch: GradientBatch) -> None:
        """Keep the logits of a batch."""
        if k := self.logits.shape[1]:
            self.logits[batch.rows.to(self.logits.device)] = batch.logits[:, :k].float()

    def tensors(self) -> dict[str, Tensor]:
        """What it holds a row, by name."""
        return {"logits": self.logits}

    def judged(
        self, findings: Findings, samples: Samples, detectors: Mapping[str, DetectorOptions]
    ) -> Findings:
        """The findings with new scores of the detectors that look at answers only.

        Args:
            findings: Of each fold by itself.
            samples: What was scanned.
            detectors: By their score columns.
        """
        known = self.logits.isfinite().all(1).cpu() & ~next(iter(findings.scores.values())).isnan()
        if not self.logits.shape[1] or not known.any():
            return findings
        logits, labels = self.logits[known.to(self.logits.device)], samples.labels[known]
        scores = dict(findings.scores)
        for name, options in detectors.items():
            detector = options.detector()
            if isinstance(detector, Answering):
                found = detector.judge(logits, labels.to(logits.device)).cpu()
                scores[name] = scores[name].masked_scatter(known, found.to(scores[name].dtype))
        return replace(findings, scores=scores)


def wants_answers(detectors: Sequence[DetectorOptions]) -> bool:
    """Whether any of them looks at answers only."""
    return any(isinstance(options.detector(), Answering) for options in detectors)
