"""Gradients of several shapes, as batches that were never near a network."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ogacli.gradients import GradientBatch
from ogacli.gradients.layers.linear import Outer, Plain


def dense_batch(values: Tensor, labels: Tensor | None = None, logits: Tensor | None = None) -> GradientBatch:
    """Gradients that are known outright."""
    n = len(values)
    given = torch.zeros(n, dtype=torch.int64) if labels is None else labels
    said = values if logits is None else logits
    losses = F.cross_entropy(said, given, reduction="none")
    return GradientBatch(torch.arange(n), given, said, values, None, [Plain(values)], losses=losses)


def head_batch(n: int, k: int = 10, h: int = 64, seed: int = 0) -> GradientBatch:
    """Gradients as a trained head has them.

    Features behind a ReLU with some dead units, most residuals small, those of 4 % of the samples, whose
    label is wrong, large.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(k, h, generator=generator)
    true = torch.randint(k, (n,), generator=generator)
    features = torch.relu(torch.randn(n, h, generator=generator) + 0.5 * centres[true] - 0.3)
    features[:, torch.rand(h, generator=generator) < 0.1] = 0
    logits = torch.randn(n, k, generator=generator)
    logits[torch.arange(n), true] += 6
    wrong = torch.rand(n, generator=generator) < 0.04
    labels = torch.where(wrong, torch.randint(k, (n,), generator=generator), true)
    residual = logits.softmax(1)
    residual[torch.arange(n), labels] -= 1
    parts = [Outer(features, residual, bias=True)]
    losses = F.cross_entropy(logits, labels, reduction="none")
    return GradientBatch(torch.arange(n), labels, logits, residual, features, parts, losses=losses)


def moved(batch: GradientBatch, device: torch.device) -> GradientBatch:
    """A batch of ``head_batch`` on a device; its rows stay on the CPU."""
    assert batch.features is not None
    assert batch.losses is not None
    return GradientBatch(
        batch.rows,
        batch.labels.to(device),
        batch.logits.to(device),
        batch.residual.to(device),
        batch.features.to(device),
        [Outer(part.a.to(device), part.d.to(device), part.bias) for part in batch.parts],
        losses=batch.losses.to(device),
    )
