"""Compare per-sample gradients with one backward pass a sample; done on the first batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.fallback import indexed, trainable
from ogacli.gradients.layers.plain import sums
from ogacli.models.outputs import call

_TOLERANCE = 1e-2
"""Relative difference of norms and entries that is taken for rounding."""
_NEGLIGIBLE = 1e-5
"""Parameters whose gradient has a smaller share of the whole norm are not compared."""
_ENTRIES = 32
"""Number of entries compared for each parameter."""


def mismatches(
    module: nn.Module, selection: Mapping[str, nn.Parameter], inputs: Any, found: GradientBatch
) -> dict[str, str]:
    """The parameters for which the gradient of some sample differs from that of one backward pass, and how.

    For each parameter the norm and some entries are compared. Only one gradient is in memory at a time.
    """
    generator = torch.Generator().manual_seed(0)
    coords = [torch.randint(p.numel(), (_ENTRIES,), generator=generator) for p in selection.values()]
    wrong: dict[str, str] = {}
    own_norms = [sums([part], (2,))[2].sqrt() for part in found.parts]
    scale = torch.stack(own_norms).square().sum(0).sqrt()
    entries = [
        part.entries(at.to(found.residual.device)) for part, at in zip(found.parts, coords, strict=True)
    ]
    for i in range(len(found)):
        here = slice(i, i + 1)
        norms, values = _alone(module, selection, indexed(inputs, here), found.residual[here], coords)
        for j, name in enumerate(selection):
            exact, ours = norms[j], float(own_norms[j][i])
            if max(exact, ours) <= _NEGLIGIBLE * float(scale[i]):
                continue
            close = torch.allclose(
                entries[j][i].cpu().double(), values[j], rtol=_TOLERANCE, atol=_TOLERANCE * exact
            )
            if abs(exact - ours) > _TOLERANCE * exact or not close:
                wrong.setdefault(name, f"a norm of {ours:.4g} in the batch, {exact:.4g} alone")
    return wrong


def _alone(
    module: nn.Module,
    selection: Mapping[str, nn.Parameter],
    inputs: Any,
    residual: Tensor,
    coords: list[Tensor],
) -> tuple[list[float], list[Tensor]]:
    """Norm of each parameter's gradient and its entries at ``coords``, by one backward pass."""
    norms = [0.0] * len(selection)
    values = [torch.zeros(len(at), dtype=torch.float64) for at in coords]

    def note(index: int, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.detach().flatten()
        norms[index] = float(torch.linalg.vector_norm(gradient.double()))
        values[index] = gradient[coords[index].to(gradient.device)].double().cpu()
        parameter.grad = None

    with trainable(selection.values()), torch.enable_grad():
        hooks = [
            parameter.register_post_accumulate_grad_hook(lambda p, index=index: note(index, p))
            for index, parameter in enumerate(selection.values())
        ]
        try:
            output = call(module, inputs)
            total = (output * residual.to(output.dtype)).sum()
            if total.requires_grad:  # the sample may use none of them
                total.backward()
        finally:
            for hook in hooks:
                hook.remove()
    return norms, values
