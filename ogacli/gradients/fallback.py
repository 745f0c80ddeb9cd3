"""What no rule covers: the gradients of the same parameters sample by sample.

``torch.func.vmap`` over ``torch.func.grad`` where torch can do that to the network, one backward pass a
sample where it cannot.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ogacli.gradients.layers.plain import Plain
from ogacli.models.outputs import call


class Fallback:
    """Computes gradients of ``<logits, residual>`` without any rule."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._vectorises = True

    def __call__(
        self, names: Sequence[str], inputs: Any, residual: Float[Tensor, "b k ..."]
    ) -> dict[str, Plain]:
        """The gradients of these parameters, each as a matrix [b, p]."""
        if not names:
            return {}
        parameters = {name: self.module.get_parameter(name) for name in names}
        if self._vectorises:
            try:
                return self._vectorised(parameters, inputs, residual)
            except (RuntimeError, NotImplementedError, ValueError, TypeError, Warning):
                self._vectorises = False
        return self._one_by_one(parameters, inputs, residual)

    def _vectorised(
        self, parameters: Mapping[str, nn.Parameter], inputs: Any, residual: Tensor
    ) -> dict[str, Plain]:
        def product(values: dict[str, Tensor], sample: Any, weights: Tensor) -> Tensor:
            one = _with_batch(sample)
            args, kwargs = ((), one) if isinstance(one, dict) else ((one,), {})
            output = functional_call(self.module, values, args, kwargs)
            logits: Tensor = getattr(output, "logits", output)
            return (logits[0] * weights).sum()

        values = {name: parameter.detach() for name, parameter in parameters.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch warns where it would go sample by sample, only slower
            found = vmap(grad(product), in_dims=(None, 0, 0))(values, inputs, residual)
        return {name: Plain(found[name].detach().flatten(1)) for name in parameters}

    def _one_by_one(
        self, parameters: Mapping[str, nn.Parameter], inputs: Any, residual: Tensor
    ) -> dict[str, Plain]:
        found = {name: residual.new_zeros(len(residual), p.numel()) for name, p in parameters.items()}
        try:
            for parameter in parameters.values():
                parameter.requires_grad_(True)
            for i in range(len(residual)):
                with torch.enable_grad():
                    output = call(self.module, _with_batch(_at(inputs, i)))
                    total = (output[0] * residual[i].to(output.dtype)).sum()
                gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
                for name, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        found[name][i] = gradient.flatten()
        finally:
            for parameter in parameters.values():
                parameter.requires_grad_(False)
        return {name: Plain(values) for name, values in found.items()}


def _with_batch(sample: Any) -> Any:
    if isinstance(sample, dict):
        return {name: tensor[None] for name, tensor in sample.items()}
    return sample[None]


def _at(inputs: Any, i: int) -> Any:
    if isinstance(inputs, dict):
        return {name: tensor[i] for name, tensor in inputs.items()}
    return inputs[i]
