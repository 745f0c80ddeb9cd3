"""A network, and the logits and features of a batch.

In: a ``torch.nn.Module``. Out: its logits, and the features: the input of its head, the last linear layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.models.checks import PROBED, check_layers, check_outputs, in_evaluation
from ogacli.models.faster import compile_network, quickened
from ogacli.models.head import as_rows, by_name, find_head, name_of, read_by, recorded
from ogacli.models.outputs import call, first_logits


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a model for a batch."""

    logits: Float[Tensor, "b k"]
    features: Float[Tensor, "b h"] | None
    """The input of the head; None where the head is not known."""
    bias: bool
    """True where the head adds a bias, whose gradient is the residual."""


class Model(Protocol):
    """What gradients need of a model."""

    @property
    def reads_inputs(self) -> bool:
        """False where logits are looked up by row, so that inputs need not be read."""

    @property
    def head_name(self) -> str:
        """The name of the head; known after the first batch."""

    def to(self, device: torch.device) -> None:
        """Move to a device."""

    def outputs(self, batch: Batch) -> Outputs:
        """Logits and features of a batch on the model's device."""


class Network:
    """A ``torch.nn.Module`` in evaluation mode, its parameters frozen."""

    reads_inputs = True

    def __init__(self, module: nn.Module, *, head: str | None, outputs: int) -> None:
        """Freeze a network and put it into evaluation mode.

        Args:
            module: The network.
            head: The name of its last linear layer, or of its last convolution where it returns logits of
                each pixel; None to find it.
            outputs: The least number of logits a sample.

        Raises:
            GradientError: There is no such layer, or a layer normalises by statistics of the batch.
        """
        self.module = module.eval().requires_grad_(False)
        self.classes = outputs
        self.named_head = head
        """The name of the head, where the user gave one."""
        self._head: nn.Linear | None = None
        self._read: list[Tensor] = []
        """The input of the head in the last pass."""
        self._fold = self._compile = False
        self._forward: Callable[[Any], Any] = partial(call, module)
        check_layers(self.module)
        if head is not None and not isinstance(dict(module.named_modules()).get(head), nn.Conv2d):
            by_name(self.module, head, nn.Linear)

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        self.module.to(device)

    def quicken(self, *, fold: bool, compile: bool) -> None:
        """Use a faster network with the same logits, where only the head's gradient is computed.

        Args:
            fold: Merge batch norms into convolutions and use channels last.
            compile: Use ``torch.compile``.
        """
        self._fold, self._compile = fold, compile

    def outputs(self, batch: Batch) -> Outputs:
        """One forward pass in inference mode; on the first batch the head is found and checks are made.

        Raises:
            GradientError: The outputs do not fit the data, there is no linear head, or the logits of a sample
                depend on other samples or on chance.
        """
        with torch.inference_mode():
            if self._head is None:
                self._head = self._begin(batch)
            logits = self._forward(batch.inputs)
            read = self._read.pop()
        return Outputs(logits, as_rows(read, len(logits)), bias=self._head.bias is not None)

    def widest(self, batch: Batch) -> int:
        """Size of the largest tensor that a layer returns, in bytes a sample; one forward pass.

        Raises:
            GradientError: The network's outputs do not fit the data.
        """
        sizes = [0]

        def note(layer: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                sizes.append(output.nbytes)

        hooks = [layer.register_forward_hook(note) for layer in self.module.modules()]
        try:
            with torch.inference_mode():
                first_logits(self.module, batch, self.classes)
        finally:
            for hook in hooks:
                hook.remove()
        return max(sizes) // len(batch.rows)

    @property
    def head_name(self) -> str:
        """The dotted name of the head; known after the first batch."""
        assert self._head is not None
        return name_of(self.module, self._head)

    def _begin(self, batch: Batch) -> nn.Linear:
        """Find the head on some samples of the first batch; a hook keeps its input from then on."""
        probe = batch.split(PROBED)[0]  # all of it would cost as much as five batches
        head = self._examine(probe)
        if self._fold and (faster := quickened(self.module, probe.inputs)) is not self.module:
            self.module = faster
            self._forward = partial(call, faster)
            head = self._examine(probe, checked=True)
        read = self._read

        def remember(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # A reference to `self` would keep the weights alive until the garbage collector runs.
            read[:] = [read_by(args, kwargs)]

        head.register_forward_pre_hook(remember, with_kwargs=True)
        if self._compile:
            self._forward = partial(call, compile_network(self.module, batch.inputs))
        return head

    def _examine(self, batch: Batch, *, checked: bool = False) -> nn.Linear:
        name = type(self.module).__name__
        with in_evaluation(self.module), recorded(self.module) as calls:
            logits = first_logits(self.module, batch, self.classes)
        if not checked:
            check_outputs(lambda inputs: call(self.module, inputs), batch.inputs, name)
        return find_head(self.module, calls, logits, self.named_head)
