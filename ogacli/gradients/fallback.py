"""Per-sample gradients of parameters that no rule covers.

They are computed by ``torch.func.vmap`` over ``torch.func.grad`` where the network allows that, otherwise by
one backward pass a sample.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ogacli.base.device import out_of_memory
from ogacli.gradients.layers.plain import Plain
from ogacli.models.outputs import call


class Fallback:
    """Computes the gradients of ``<logits, residual>`` without rules."""

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
            except (RuntimeError, NotImplementedError, ValueError, TypeError, Warning) as error:
                if out_of_memory(error):
                    raise  # a smaller batch may fit
                self._vectorises = False
        return self._one_by_one(parameters, inputs, residual)

    def _vectorised(
        self, parameters: Mapping[str, nn.Parameter], inputs: Any, residual: Tensor
    ) -> dict[str, Plain]:
        def product(values: dict[str, Tensor], sample: Any, weights: Tensor) -> Tensor:
            one = indexed(sample, None)
            logits = call(lambda *args, **kwargs: functional_call(self.module, values, args, kwargs), one)
            return (logits[0] * weights).sum()  # type: ignore[no-any-return]

        values = {name: parameter.detach() for name, parameter in parameters.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch warns where vmap falls back to a slow loop
            found = vmap(grad(product), in_dims=(None, 0, 0))(values, inputs, residual)
        return {name: Plain(found[name].detach().flatten(1)) for name in parameters}

    def _one_by_one(
        self, parameters: Mapping[str, nn.Parameter], inputs: Any, residual: Tensor
    ) -> dict[str, Plain]:
        found = {name: residual.new_zeros(len(residual), p.numel()) for name, p in parameters.items()}
        with trainable(parameters.values()):
            for i in range(len(residual)):
                with torch.enable_grad():
                    output = call(self.module, indexed(inputs, slice(i, i + 1)))
                    total = (output[0] * residual[i].to(output.dtype)).sum()
                if not total.requires_grad:  # this sample uses none of them
                    continue
                gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
                for name, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        found[name][i] = gradient.flatten()
        return {name: Plain(values) for name, values in found.items()}


@contextmanager
def trainable(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """A context in which the parameters require gradients; afterwards they are frozen and have none."""
    parameters = list(parameters)
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def indexed(inputs: Any, index: Any) -> Any:
    """Inputs of a network (tensor, dictionary of tensors, or list of texts), indexed along the samples."""
    if isinstance(inputs, list):
        return [inputs[i] for i in index.tolist()] if isinstance(index, Tensor) else inputs[index]
    if isinstance(inputs, dict):
        return {name: tensor[index] for name, tensor in inputs.items()}
    return inputs[index]
