"""Parameters that are added to, multiplied with or concatenated to activations.

These are positional embeddings, layer scales, hand-written norms. They have few numbers, so the gradient is
computed outright: the output gradient, summed over the dimensions along which the parameter was broadcast.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.layers import NotCovered, Reading, reads
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import Plain


@reads(torch.add, Tensor.add, Tensor.add_)
def add(
    reading: Reading, input: Tensor, other: Tensor, *, alpha: float = 1, out: Tensor | None = None
) -> Iterator[tuple[Tensor, Part]]:
    """``input + alpha * other``."""
    if reading.wants(input):
        yield input, _broadcast(reading, reading.gradient, input)
    if isinstance(other, Tensor) and reading.wants(other):
        yield other, _broadcast(reading, reading.gradient * alpha, other)


@reads(torch.sub, Tensor.sub)
def subtract(
    reading: Reading, input: Tensor, other: Tensor, *, alpha: float = 1, out: Tensor | None = None
) -> Iterator[tuple[Tensor, Part]]:
    """``input - alpha * other``."""
    return add(reading, input, other, alpha=-alpha)


@reads(torch.mul, Tensor.mul)
def multiply(
    reading: Reading, input: Tensor, other: Tensor, *, out: Tensor | None = None
) -> Iterator[tuple[Tensor, Part]]:
    """``input * other``."""
    for parameter, factor in ((input, other), (other, input)):
        if isinstance(parameter, Tensor) and reading.wants(parameter):
            yield parameter, _broadcast(reading, _times(reading, factor), parameter)


@reads(torch.cat, torch.concat)
def concatenate(reading: Reading, tensors: Sequence[Tensor], dim: int = 0) -> Iterator[tuple[Tensor, Part]]:
    """Tensors one after the other, such as a class token before the patches."""
    dim = dim % reading.rank
    if dim == reading.axis.dim or reading.gradient.ndim != reading.rank:
        raise NotCovered("a concatenation of samples")
    start = 0
    along = dim + 1 if dim < reading.axis.dim else dim
    for tensor in tensors:
        if reading.wants(tensor):
            piece = reading.gradient.narrow(along, start, tensor.shape[dim])
            yield tensor, _broadcast(reading, piece, tensor)
        start += tensor.shape[dim]


def _times(reading: Reading, factor: Tensor) -> Tensor:
    d = reading.gradient
    if not isinstance(factor, Tensor) or factor.ndim == 0:
        return d * factor
    factor = factor.detach()[(None,) * (reading.rank - factor.ndim)]
    if factor.shape[reading.axis.dim] == 1:
        shared = factor.movedim(reading.axis.dim, 0) if d.ndim == reading.rank else factor.unsqueeze(0)
        return d * shared
    return d * reading.first(factor)


def _broadcast(reading: Reading, d: Float[Tensor, "b ..."], parameter: Tensor) -> Plain:
    """The gradient of a parameter that was broadcast to the shape of the output."""
    axis, b = reading.axis, reading.b
    shape = (1,) * (reading.rank - parameter.ndim) + tuple(parameter.shape)
    own = shape[axis.dim]
    rest = shape[: axis.dim] + shape[axis.dim + 1 :]
    if own not in (1, b) or (own != 1 and d.ndim > reading.rank):
        raise NotCovered("a parameter that is broadcast over some of the samples")
    if d.ndim > reading.rank:  # positions that shared the samples' dimension
        d = d.sum(axis.dim + 1)
    wide = [i + 1 for i, length in enumerate(rest) if length == 1]
    found = d.sum(wide, keepdim=True) if wide else d
    if own == 1:
        return Plain(found.reshape(b, -1))
    placed = found.new_zeros(b, *found.shape)
    index = torch.arange(b, device=d.device)
    placed[index, index] = found
    return Plain(placed.movedim(1, axis.dim + 1).reshape(b, -1))
