"""The influence methods on gradients as matrices, block by block, as their papers define them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def dampings(fitted: Tensor, sizes: Sequence[int], share: float) -> list[float]:
    """lambda of each block: a share of its mean squared entry."""
    return [share * float(block.square().mean()) for block in fitted.split(list(sizes), 1)]


def datainf_inverse(fitted: Tensor, damping: float) -> Tensor:
    """The mean of the exact inverses of ``g g' + lambda``, [p, p]."""
    unit = torch.eye(fitted.shape[1], dtype=fitted.dtype)
    inverses = [torch.linalg.inv(torch.outer(g, g) + damping * unit) for g in fitted]
    return torch.stack(inverses).mean(0)


def lissa_inverse(fitted: Tensor, damping: float, scale: float, iterations: int) -> Tensor:
    """The iteration, on all unit vectors at once, [p, p]."""
    unit = torch.eye(fitted.shape[1], dtype=fitted.dtype)
    curvature = sum((torch.outer(g, g) for g in fitted), 0 * unit) / len(fitted) + damping * unit
    found = unit
    for _ in range(iterations):
        found = unit + found - scale * curvature @ found
    return scale * found


def exact_inverse(fitted: Tensor, damping: float) -> Tensor:
    """(G + lambda)^-1."""
    unit = torch.eye(fitted.shape[1], dtype=fitted.dtype)
    return torch.linalg.inv(fitted.T @ fitted / len(fitted) + damping * unit)


def block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    return torch.block_diag(*blocks)


def against(gradients: Tensor, inverse: Tensor, mean: Tensor) -> Tensor:
    """-g' A v of each sample."""
    return torch.stack([-(g @ inverse @ mean) for g in gradients])


def self_influence(gradients: Tensor, inverse: Tensor) -> Tensor:
    """g' A g of each sample."""
    return torch.stack([g @ inverse @ g for g in gradients])
