"""One forward pass that was watched, and the way back through it."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.gradients.tracing import Watch
from ogacli.models.head import read_by


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass, and what it needs for the way back."""

    watch: Watch
    output: Tensor
    logits: Float[Tensor, "b k ..."]
    """Where the residual is taken: the network's logits for the sample, or those of its neighbours' mean."""
    features: Float[Tensor, "b h"] | None
    residual: Float[Tensor, "b k ..."]

    def backward(self, residual: Float[Tensor, "b k ..."], *, keep: bool = False) -> None:
        """Send a residual back as far as the selected parameters lie."""
        if self.output.requires_grad:
            roots = self.watch.roots
            torch.autograd.grad(
                self.output, roots, residual.to(self.output.dtype), retain_graph=keep, allow_unused=True
            )


class Reads:
    """While it is open, collects what a layer reads."""

    def __init__(self, layer: nn.Linear | None) -> None:
        self.layer = layer

    def __enter__(self) -> list[Tensor]:
        read: list[Tensor] = []
        self._hook: Any = None
        if self.layer is not None:

            def note(module: nn.Module, args: Any, kwargs: Any) -> None:
                read.append(read_by(args, kwargs))

            self._hook = self.layer.register_forward_pre_hook(note, with_kwargs=True)
        return read

    def __exit__(self, *error: object) -> None:
        if self._hook is not None:
            self._hook.remove()
