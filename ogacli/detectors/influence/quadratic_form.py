"""Self-influence ``g' A g`` of one block, where A = alpha I + X' C X and X are the fitted gradients.

In: X as factors or as a matrix, alpha and C. Out: one number a sample, from inner products with the rows of
X.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import sums
from ogacli.gradients.products import inner

Held = Outer | Plain
"""The gradients of the fitted samples in one block, as factors or as a matrix."""


def joined(parts: Sequence[Held]) -> Held:
    """The gradients of several batches as one; all are factors, or all are matrices."""
    outer = [part for part in parts if isinstance(part, Outer)]
    if outer:
        return Outer(torch.cat([part.a for part in outer]), torch.cat([part.d for part in outer]), bias=False)
    return Plain(torch.cat([part.values for part in parts if isinstance(part, Plain)]))


def count(held: Held) -> int:
    """The number of samples, m."""
    return len(held.a) if isinstance(held, Outer) else len(held.values)


@dataclass(frozen=True, slots=True)
class QuadraticForm:
    """The quadratic form ``g' A g`` of one block."""

    held: Held
    """X, [m, p]."""
    alpha: float
    """Weight of the squared norm of g."""
    matrix: Float[Tensor, "m m"] | Float[Tensor, " m"]
    """C, or its diagonal; float64."""

    def of(self, part: Part, b: int) -> Float[Tensor, " b"]:
        """The form at each gradient of a batch of b samples; float64."""
        products = inner(part, self.held, b)
        weighted = products * self.matrix if self.matrix.ndim == 1 else products @ self.matrix
        return self.alpha * sums([part], [2])[2] + (weighted * products).sum(1)

    def to(self, device: torch.device) -> "QuadraticForm":
        """The same on a device; itself where it is there already."""
        if self.matrix.device == device:
            return self
        tensors = {name: tensor.to(device) for name, tensor in self.state().items()}
        return QuadraticForm.restored(tensors)

    def state(self) -> dict[str, Tensor]:
        """As named tensors, on the device where they are."""
        alpha = torch.tensor(self.alpha, dtype=torch.float64)
        factors = (
            {"a": self.held.a, "d": self.held.d} if isinstance(self.held, Outer) else {"x": self.held.values}
        )
        return {"alpha": alpha, "matrix": self.matrix} | factors

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> "QuadraticForm":
        """From what ``state`` returned."""
        held: Held = Plain(state["x"]) if "x" in state else Outer(state["a"], state["d"], bias=False)
        return cls(held, float(state["alpha"]), state["matrix"])
