"""The loss of one sample at a time, by its definition and by autograd: what tasks are compared with."""

from collections.abc import Callable

import torch
from torch import Tensor

from ogacli.models.tasks import Task


def drawn(seed: int, *shape: int) -> Tensor:
    """Logits in float64."""
    return 4 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_residual(
    task: Task, logits: Tensor, labels: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Losses and residuals must be those of ``loss`` on each sample alone, also in inference mode."""
    values, residual = task.loss(logits, labels), task.residual(logits, labels)
    for i in range(len(logits)):
        own = logits[i].clone().requires_grad_()
        value = loss(own, labels[i])
        (gradient,) = torch.autograd.grad(value, own)
        torch.testing.assert_close(values[i], value.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(residual[i], gradient, rtol=1e-10, atol=1e-12)
    assert not residual.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(task.residual(logits.clone(), labels.clone()), residual)
