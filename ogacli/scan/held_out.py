"""What each fold said of the samples that it held out, so that they can be judged together.

In: what detectors of answers look at, batch by batch. Out: their scores and beliefs of every sample, fitted
to all folds at once: each fold alone has few samples, and its scores another scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.data import Samples
from ogacli.detectors import Answering
from ogacli.verdict.verdict import Believed, Findings

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

    def see(self, rows: Int64[Tensor, " b"], answers: Mapping[str, Float[Tensor, "b 2q"]]) -> None:
        """Keep what the detectors look at, of some samples; of classes that the data has."""
        if not (k := self.answers.shape[2] // 2):
            return
        for kept, name in zip(self.answers, self.names, strict=True):
            found = torch.stack(answers[name].chunk(2, 1), 1)[:, :, :k]
            kept[rows.to(kept.device)] = found.flatten(1).float()

    def tensors(self) -> dict[str, Tensor]:
        """What it holds a row, by name."""
        return {"answers": self.answers}

    def judged(self, findings: Findings, samples: Samples, detectors: Mapping[str, Answering]) -> Findings:
        """The findings with new scores of those detectors, and the beliefs of the first of them.

        Args:
            findings: Of each fold by itself.
            samples: What was scanned.
            detectors: By their score columns.
        """
        scores, believed = dict(findings.scores), findings.believed
        for number, (answers, name) in enumerate(zip(self.answers, self.names, strict=True)):
            known = answers.isfinite().all(1).cpu() & ~scores[name].isnan()
            if not answers.shape[1] or not known.any():
                continue
            here, labels = answers[known.to(answers.device)], samples.labels[known].to(answers.device)
            detectors[name].refit(here, labels)
            beliefs = detectors[name].beliefs(here, labels)
            found = detectors[name].judge(beliefs, labels).cpu()
            scores[name] = scores[name].masked_scatter(known, found.to(scores[name].dtype))
            if not number and believed is not None:
                believed = believed.replaced(known, Believed.of(beliefs.cpu()))
        return replace(findings, scores=scores, believed=believed)
