"""Self-influence ``g' A g`` of one block, A = alpha I + X' C X with X the gradients that A was fitted to.

In: X as factors or as a matrix, alpha and C. Out: a number a sample, from inner products with the rows of X.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.layers.part import Part
from ogacli.gradients.products import inner

Held = Outer | Plain
"""Gradients of fitted samples."""


def joined(parts: Sequence[Held]) -> Held:
    """Gradients of several batches as one; all of one kind."""
    outer = [part for part in parts if isinstance(part, Outer)]
    if outer:
        return Outer(torch.cat([part.a for part in outer]), torch.cat([part.d for part in outer]), bias=False)
    return Plain(torch.cat([part.values for part in parts if isinstance(part, Plain)]))


def count(held: Held) -> int:
    """How many samples."""
    return len(held.a) if isinstance(held, Outer) else len(held.values)


@dataclass(frozen=True, slots=True)
class Form:
    """The quadratic form of one block."""

    held: Held
    """X, [m, p]."""
    alpha: float
    matrix: Float[Tensor, "m m"] | Float[Tensor, " m"]
    """C, or its diagonal."""

    def of(self, part: Part, b: int) -> Float[Tensor, " b"]:
        """The form at the gradients of a batch of b samples."""
        products = inner(part, self.held, b)
        weighted = products * self.matrix if self.matrix.ndim == 1 else products @ self.matrix
        return self.alpha * part.sums([2])[2] + (weighted * products).sum(1)

    def to(self, device: torch.device) -> "Form":
        """The same on a device."""
        if self.matrix.device == device:
            return self
        tensors = {name: tensor.to(device) for name, tensor in self.state().items()}
        return Form.restored(tensors)

    def state(self) -> dict[str, Tensor]:
        """As named tensors."""
        alpha = torch.tensor(self.alpha, dtype=torch.float64)
        factors = (
            {"a": self.held.a, "d": self.held.d} if isinstance(self.held, Outer) else {"x": self.held.values}
        )
        return {"alpha": alpha, "matrix": self.matrix} | factors

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> "Form":
        """What ``state`` gave."""
        held: Held = Plain(state["x"]) if "x" in state else Outer(state["a"], state["d"], bias=False)
        return cls(held, float(state["alpha"]), state["matrix"])
