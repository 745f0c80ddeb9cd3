"""One recorded forward pass of a network, and the backward pass through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.gradients.recording import Recorder
from ogacli.models.head import read_by


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """The results of a forward pass."""

    recorder: Recorder
    output: Tensor
    """What the network returned, with its autograd graph."""
    logits: Float[Tensor, "b k ..."]
    """Where the residual is taken: the logits of the sample, or those of its neighbours' mean prediction."""
    features: Float[Tensor, "b h"] | None
    residual: Float[Tensor, "b k ..."]

    def backward(self, residual: Float[Tensor, "b k ..."], *, keep: bool = False) -> None:
        """Propagate a residual back to the first call with a selected parameter.

        Args:
            residual: Gradient of the loss with respect to the output.
            keep: Keep the graph for another backward pass.
        """
        if self.output.requires_grad:
            roots, residual = self.recorder.roots, residual.to(self.output.dtype)
            torch.autograd.grad(self.output, roots, residual, retain_graph=keep, allow_unused=True)


@contextmanager
def inputs_of(layer: nn.Linear | None) -> Iterator[list[Tensor]]:
    """Collect, by a hook, the inputs that a layer is called with; none where there is no layer."""
    found: list[Tensor] = []

    def collect(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        found.append(read_by(args, kwargs))

    hook = None if layer is None else layer.register_forward_pre_hook(collect, with_kwargs=True)
    try:
        yield found
    finally:
        if hook is not None:
            hook.remove()
