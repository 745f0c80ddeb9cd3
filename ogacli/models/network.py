"""A network whose head is known, and what a forward pass through it leaves behind.

In: a ``torch.nn.Module``. Out: logits and the features that its last linear layer read.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.errors import GradientError


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the model says of a batch."""

    logits: Float[Tensor, "b k"]
    features: Float[Tensor, "b h"] | None
    """What the head read; None where the model has no head that we can see."""
    bias: bool
    """True where the head adds a bias, whose gradient is the residual."""


class Model(Protocol):
    """What the gradients room sees of a model."""

    @property
    def reads_inputs(self) -> bool:
        """False where the answers are looked up by row, so that inputs need not be read."""
        ...

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        ...

    def outputs(self, batch: Batch) -> Outputs:
        """Logits and features of a batch on the model's device."""
        ...


class Network:
    """A ``torch.nn.Module`` in evaluation mode, its parameters frozen."""

    reads_inputs = True

    def __init__(self, module: nn.Module, *, head: str | None, outputs: int) -> None:
        self.module = module.eval().requires_grad_(False)
        self.classes = outputs
        self._named = head
        self._head: nn.Linear | None = None
        self._read: Tensor | None = None

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        self.module.to(device)

    def outputs(self, batch: Batch) -> Outputs:
        """One forward pass in inference mode.

        Raises:
            GradientError: The network's outputs do not fit the data, or it has no linear head.
        """
        with torch.inference_mode():
            if self._head is None:
                self._head = self._find_head(batch)
                self._head.register_forward_pre_hook(self._remember)
            logits = call(self.module, batch.inputs)
            features, self._read = self._read, None
        assert features is not None
        return Outputs(logits, features, bias=self._head.bias is not None)

    @property
    def head_name(self) -> str:
        """The dotted name of the head, once it was found."""
        return next(name for name, module in self.module.named_modules() if module is self._head)

    def _remember(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._read = args[0]

    def _find_head(self, batch: Batch) -> nn.Linear:
        """The linear layer whose output is what the network returns."""
        if self._named is not None:
            return self._head_by_name(self._named)
        last: dict[str, Any] = {}

        def note(module: nn.Module, args: Any, output: Tensor) -> None:
            last["module"], last["output"] = module, output

        hooks = [m.register_forward_hook(note) for m in self.module.modules() if isinstance(m, nn.Linear)]
        try:
            logits = call(self.module, batch.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        self._check_logits(logits)
        if last.get("output") is None or last["output"].data_ptr() != logits.data_ptr():
            raise GradientError(
                "the network's last step is not a linear layer, so its head cannot be found",
                place=type(self.module).__name__,
                hint="name the linear layer whose output the logits are as `model.head`",
            )
        return last["module"]  # type: ignore[no-any-return]

    def _head_by_name(self, name: str) -> nn.Linear:
        modules = dict(self.module.named_modules())
        found = modules.get(name)
        if not isinstance(found, nn.Linear):
            linear = [known for known, module in modules.items() if isinstance(module, nn.Linear)]
            raise GradientError(
                "not a linear layer of the network" if found else "no such layer in the network",
                place=f"model.head {name!r}",
                expected=f"one of {', '.join(linear[-8:])}",
            )
        return found

    def _check_logits(self, logits: Any) -> None:
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise GradientError(
                "the network does not return logits",
                place=type(self.module).__name__,
                found=list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__,
                expected="a tensor [batch, classes]",
            )
        if logits.shape[1] < self.classes:
            raise GradientError(
                "more classes in the data than the model has outputs",
                place=type(self.module).__name__,
                found=f"{logits.shape[1]} outputs",
                expected=f"at least {self.classes}, as in the data",
                hint="load the model that was trained on this data, or check the label column",
            )


def call(module: nn.Module, inputs: Any) -> Any:
    """Call a network with a tensor, or with a mapping as keyword arguments."""
    output = module(**inputs) if isinstance(inputs, dict) else module(inputs)
    return getattr(output, "logits", output)
