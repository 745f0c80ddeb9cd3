"""Networks in TorchScript: code and weights in one file.

Layers of TorchScript take no hooks, so the inputs of the head are recovered from its gradient. The logits are
z = W f + b; where the gradient with respect to z_ij is 1 and all others are 0, row j of the gradient of W is
the f of sample i. One backward pass through the head gives the features of as many samples as there are
classes.
"""

import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.base.tables import opened
from ogacli.data import Batch, Samples
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.snapshots import Weights
from ogacli.models.checks import PROBED, check_outputs
from ogacli.models.head import agrees
from ogacli.models.network import Outputs
from ogacli.models.outputs import call, first_logits
from ogacli.models.precision import taking_float32
from ogacli.models.sources import CheckpointSource, Fit, sources


@sources.register
class TorchScript(CheckpointSource):
    """A scripted or traced network, in evaluation mode when it was saved or able to be put there."""

    checkpoint: Weights
    """The file that ``torch.jit.save`` wrote. Several, or folds, as for networks."""

    def load(self, samples: Samples) -> "Scripted":
        """The network.

        Raises:
            CheckpointError: The file is not TorchScript.
        """
        path = self.file()
        with opened(path) as file, warnings.catch_warnings():
            # Newer versions of torch recommend another format.
            warnings.filterwarnings("ignore", message="`torch.jit")
            try:
                module = torch.jit.load(file, map_location="cpu")
            except (RuntimeError, ValueError) as error:
                raise CheckpointError(
                    "not a TorchScript file",
                    place=path,
                    found=str(error).partition("\n")[0],
                    hint="weights alone belong to the source that builds their network, such as torchvision",
                ) from None
        if any(tensor.dtype != torch.float32 for tensor in module.parameters()):
            module = taking_float32(module, Fit.of(samples).example)
        return Scripted(module, outputs=samples.label_type.outputs(samples.labels, samples.classes))


class Scripted:
    """A TorchScript network: logits and, where its head is found, features.

    A frozen network, whose weights are constants, has no head: its gradients are those with respect to the
    logits.
    """

    reads_inputs = True

    def __init__(self, module: nn.Module, *, outputs: int) -> None:
        self.module = module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.classes = outputs
        self._begun = False
        self._weight: nn.Parameter | None = None
        self._bias: nn.Parameter | None = None
        self.head_name = "logits"

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        self.module.to(device)

    def outputs(self, batch: Batch) -> Outputs:
        """One forward pass, and a backward pass through the head; the first batch is checked.

        Raises:
            GradientError: The outputs do not fit the data, or the logits of a sample depend on other samples
                or on chance.
        """
        if not self._begun:
            self._begin(batch.split(PROBED)[0])
        if self._weight is None:
            with torch.no_grad():
                return Outputs(call(self.module, batch.inputs), None, bias=False)
        logits, features = self._passed(batch.inputs, self._weight)
        return Outputs(logits, features, bias=self._bias is not None)

    def _begin(self, batch: Batch) -> None:
        """Check the logits, and find the head: the layer that computes them from its input."""
        name = getattr(self.module, "original_name", "network")
        with torch.no_grad():
            logits = first_logits(self.module, batch, self.classes)
            check_outputs(lambda inputs: call(self.module, inputs), batch.inputs, name)
        parameters = dict(self.module.named_parameters())
        for weight_name, weight in reversed(parameters.items()):
            bias = parameters.get(weight_name.removesuffix("weight") + "bias")
            if weight.ndim == 2 and len(weight) == logits.shape[1] and self._makes(batch, weight, bias):
                self._weight, self._bias = weight, bias
                self.head_name = weight_name.removesuffix(".weight")
                break
        self._begun = True

    def _makes(self, batch: Batch, weight: nn.Parameter, bias: nn.Parameter | None) -> bool:
        """Whether the logits are the output of this layer."""
        try:
            logits, features = self._passed(batch.inputs, weight)
        except RuntimeError:  # this weight has no part in the logits
            return False
        made = nn.functional.linear(features, weight, bias)
        return agrees(made, logits)

    def _passed(self, inputs: Any, weight: nn.Parameter) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b h"]]:
        """Logits, and the inputs of the layer with this weight."""
        weight.requires_grad_()
        try:
            with torch.inference_mode(False), torch.enable_grad():
                logits: Tensor = call(self.module, inputs)
                features = [self._read(logits, weight, rows) for rows in _groups(logits)]
        finally:
            weight.requires_grad_(False)
        return logits.detach(), torch.cat(features)

    def _read(self, logits: Tensor, weight: nn.Parameter, rows: range) -> Float[Tensor, "g h"]:
        one_each = torch.zeros_like(logits)
        one_each[list(rows), range(len(rows))] = 1
        (found,) = torch.autograd.grad(logits, weight, one_each, retain_graph=True)
        return found[: len(rows)]


def _groups(logits: Float[Tensor, "b k"]) -> list[range]:
    """The rows in groups of as many as there are classes."""
    b, k = logits.shape
    return [range(start, min(start + k, b)) for start in range(0, b, k)]
