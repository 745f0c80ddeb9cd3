"""Gradient batches joined to one, as if their samples had been computed together.

In: batches of one computation. Out: a batch of all their samples. On a GPU a detector takes a fixed number of
operations for each batch, so that fewer batches take less time.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.kept import Kept
from ogacli.gradients.layers.linear import Outer
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import Plain


def joinable(batch: GradientBatch) -> bool:
    """Whether a batch can be joined: one row a sample in all that it holds, and no boxes."""
    small = all(isinstance(part, Plain | Outer | Kept) for part in batch.parts)
    return small and batch.logits.ndim == 2 and batch.objects is None


def joined(several: Sequence[GradientBatch]) -> GradientBatch:
    """The samples of all, in order.

    Args:
        several: Of one computation, each ``joinable``.
    """
    first = several[0]
    if len(several) == 1:
        return first
    parts = zip(*(one.parts for one in several), strict=True)
    return replace(
        first,
        rows=torch.cat([one.rows for one in several]),
        labels=torch.cat([one.labels for one in several]),
        logits=torch.cat([one.logits for one in several]),
        residual=torch.cat([one.residual for one in several]),
        features=_if_known([one.features for one in several]),
        losses=_if_known([one.losses for one in several]),
        parts=[part_of_all(own) for own in parts],
    )


def part_of_all(several: Sequence[Part]) -> Part:
    """The gradients of one parameter, one batch after the other."""
    if kept := [part for part in several if isinstance(part, Kept)]:
        return Kept.joined(kept)
    if outer := [part for part in several if isinstance(part, Outer)]:
        a, d = torch.cat([part.a for part in outer]), torch.cat([part.d for part in outer])
        return Outer(a, d, outer[0].bias)
    return Plain(torch.cat([part.values for part in several if isinstance(part, Plain)]))


def _if_known(several: Sequence[Tensor | None]) -> Tensor | None:
    known = [one for one in several if one is not None]
    return torch.cat(known) if known else None
