"""What each fold said of the samples that it held out, so that they can be judged together.

In: batches of gradients. Out: what detectors of answers looked at, of every sample, and their scores, fitted
to all folds at once: each fold alone has few samples, and its scores another scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ogacli.data import Samples
from ogacli.detectors import Answering, Detector
from ogacli.gradients import GradientBatch
from ogacli.verdict import Findings

_BYTES = 256 << 20
"""Answers that may be held; beyond that each fold is judged by itself."""


class HeldOut:
    """What detectors look at of n samples, two numbers for each of their classes."""

    def __init__(self, n: int, k: int, names: Sequence[str], device: torch.device) -> None:
        """Room for answers.

        Args:
            n: How many samples.
            k: How many classes; 0 where nothing is to be kept.
            names: The score columns of the detectors.
            device: Where to keep them.
        """
        self.names = names
        width = 2 * k if k > 1 and 8 * n * k * len(names) <= _BYTES else 0
        self.answers = torch.full((len(names), n, width), torch.nan, device=device)

    def see(self, batch: GradientBatch, detectors: Mapping[str, Detector]) -> None:
        """Keep what those detectors look at, of a batch."""
        k = self.answers.shape[2] // 2
        for kept, name in zip(self.answers, self.names, strict=True):
            if k and isinstance(detector := detectors[name], Answering):
                found = torch.stack(detector.answers(batch).chunk(2, 1), 1)[:, :, :k]
                kept[batch.rows.to(kept.device)] = found.flatten(1).float()

    def tensors(self) -> dict[str, Tensor]:
        """What it holds a row, by name."""
        return {"answers": self.answers}

    def judged(self, findings: Findings, samples: Samples, detectors: Mapping[str, Answering]) -> Findings:
        """The findings with new scores of those detectors.

        Args:
            findings: Of each fold by itself.
            samples: What was scanned.
            detectors: By their score columns.
        """
        scores = dict(findings.scores)
        for answers, name in zip(self.answers, self.names, strict=True):
            known = answers.isfinite().all(1).cpu() & ~scores[name].isnan()
            if answers.shape[1] and known.any():
                here = known.to(answers.device)
                found = detectors[name].judge(answers[here], samples.labels[known].to(answers.device))
                scores[name] = scores[name].masked_scatter(known, found.cpu().to(scores[name].dtype))
        return replace(findings, scores=scores)
