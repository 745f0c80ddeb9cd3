"""One sample, one backward pass: what the engine checks itself against on the first batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ogacli.gradients.batch import GradientBatch
from ogacli.models.outputs import call

_APART = 1e-2
"""Relative difference of a parameter's gradient norm that rounding cannot explain."""
_NOTHING = 1e-5
"""Share of the whole gradient's norm below which a parameter's is rounding."""
_ENTRIES = 32
"""Entries that are compared of each parameter."""


def mismatches(
    module: nn.Module, selection: Mapping[str, nn.Parameter], inputs: Any, found: GradientBatch
) -> dict[str, str]:
    """The parameters of which some sample's gradient is not what one backward pass gives, and how it differs.

    Of each parameter the norm and some entries are compared, and nothing larger than its gradient is kept.
    """
    generator = torch.Generator().manual_seed(0)
    coords = [torch.randint(p.numel(), (_ENTRIES,), generator=generator) for p in selection.values()]
    wrong: dict[str, str] = {}
    sums = [part.sums((2,))[2].sqrt() for part in found.parts]
    scale = torch.stack(sums).square().sum(0).sqrt()
    entries = [
        part.entries(at.to(found.residual.device)) for part, at in zip(found.parts, coords, strict=True)
    ]
    for i in range(len(found)):
        norms, values = _alone(module, selection, _one(inputs, i), found.residual[i : i + 1], coords)
        for j, name in enumerate(selection):
            exact, ours = norms[j], float(sums[j][i])
            if max(exact, ours) <= _NOTHING * float(scale[i]):
                continue
            close = torch.allclose(entries[j][i].cpu().double(), values[j], rtol=_APART, atol=_APART * exact)
            if abs(exact - ours) > _APART * exact or not close:
                wrong.setdefault(name, f"a norm of {ours:.4g} in the batch, {exact:.4g} alone")
    return wrong


def _alone(
    module: nn.Module,
    selection: Mapping[str, nn.Parameter],
    inputs: Any,
    residual: Tensor,
    coords: list[Tensor],
) -> tuple[list[float], list[Tensor]]:
    norms = [0.0] * len(selection)
    values = [torch.zeros(len(at), dtype=torch.float64) for at in coords]

    def note(index: int, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.detach().flatten()
        norms[index] = float(torch.linalg.vector_norm(gradient.double()))
        values[index] = gradient[coords[index].to(gradient.device)].double().cpu()
        parameter.grad = None

    with _trainable(selection), torch.enable_grad():
        hooks = [
            parameter.register_post_accumulate_grad_hook(lambda p, index=index: note(index, p))
            for index, parameter in enumerate(selection.values())
        ]
        try:
            output = call(module, inputs)
            (output * residual.to(output.dtype)).sum().backward()
        finally:
            for hook in hooks:
                hook.remove()
    return norms, values


@contextmanager
def _trainable(selection: Mapping[str, nn.Parameter]) -> Iterator[None]:
    try:
        for parameter in selection.values():
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in selection.values():
            parameter.requires_grad_(False)
            parameter.grad = None


def _one(inputs: Any, i: int) -> Any:
    if isinstance(inputs, dict):
        return {name: tensor[i : i + 1] for name, tensor in inputs.items()}
    return inputs[i : i + 1]
