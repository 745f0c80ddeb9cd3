"""Normalisations with a scale and a shift for each channel or feature: ``y = weight * x_hat + bias``.

These parameters have few numbers, so their gradients are computed outright: the sums over a sample's
positions of d * x_hat and of d.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.layers import NotCovered, Reading, reads
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import Plain
from ogacli.gradients.layers.workspace import at_a_time, borrowed


@reads(F.batch_norm)
def batch_norm(
    reading: Reading,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Iterator[tuple[Tensor, Part]]:
    """Batch norm with running statistics."""
    if training or running_mean is None or running_var is None:
        raise NotCovered("batch norm by the statistics of the batch")
    _check_channels(reading)
    if reading.wants(weight):
        if input.device.type == "cpu":
            sums = _channel_sums(reading.gradient, reading.first(input), running_mean)
            yield weight, Plain(sums * torch.rsqrt(running_var + eps))
        else:  # one operation in place of four
            normalized = F.batch_norm(reading.first(input).detach(), running_mean, running_var, eps=eps)
            yield weight, Plain(_channel_sums(reading.gradient, normalized))
    if reading.wants(bias):
        yield bias, Plain(_channel_sums(reading.gradient))


@reads(F.group_norm)
def group_norm(
    reading: Reading,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Iterator[tuple[Tensor, Part]]:
    """Group norm."""
    return _channels(reading, weight, bias, lambda: F.group_norm(input.detach(), num_groups, None, None, eps))


@reads(F.instance_norm)
def instance_norm(
    reading: Reading,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Iterator[tuple[Tensor, Part]]:
    """Instance norm, by each sample's own statistics or by running ones."""
    same = (running_mean, running_var, None, None, use_input_stats, 0.0, eps)
    return _channels(reading, weight, bias, lambda: F.instance_norm(input.detach(), *same))


@reads(F.layer_norm)
def layer_norm(
    reading: Reading,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Iterator[tuple[Tensor, Part]]:
    """Layer norm over the last dimensions."""
    shape = normalized_shape
    return _features(reading, weight, bias, shape, lambda: F.layer_norm(input.detach(), shape, eps=eps))


@reads(F.rms_norm)
def rms_norm(
    reading: Reading,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Iterator[tuple[Tensor, Part]]:
    """Root-mean-square norm over the last dimensions."""
    shape = normalized_shape
    return _features(reading, weight, None, shape, lambda: F.rms_norm(input.detach(), shape, eps=eps))


def _check_channels(reading: Reading) -> None:
    if reading.axis.dim != 0 or reading.gradient.ndim != reading.rank:
        raise NotCovered("a normalisation whose samples are not its first dimension")


def _channels(
    reading: Reading, weight: Tensor | None, bias: Tensor | None, normalized: Callable[[], Tensor]
) -> Iterator[tuple[Tensor, Part]]:
    """Scale and shift of each channel, the second dimension."""
    _check_channels(reading)
    if reading.wants(weight):
        yield weight, Plain(_channel_sums(reading.gradient, reading.first(normalized())))
    if reading.wants(bias):
        yield bias, Plain(_channel_sums(reading.gradient))


def _features(
    reading: Reading,
    weight: Tensor | None,
    bias: Tensor | None,
    shape: Sequence[int],
    normalized: Callable[[], Tensor],
) -> Iterator[tuple[Tensor, Part]]:
    """Scale and shift of each feature, the last dimensions."""
    if reading.axis.dim >= reading.rank - len(shape):
        raise NotCovered("a normalisation over the samples")

    def summed(d: Float[Tensor, "b ..."]) -> Plain:
        return Plain(d.flatten(d.ndim - len(shape)).reshape(reading.b, -1, math.prod(shape)).sum(1))

    if reading.wants(weight):
        yield weight, summed(reading.gradient * reading.first(normalized()))
    if reading.wants(bias):
        yield bias, summed(reading.gradient)


def _channel_sums(
    d: Float[Tensor, "b c ..."], x: Float[Tensor, "b c ..."] | None = None, mean: Tensor | None = None
) -> Float[Tensor, "b c"]:
    """The sums over positions of d * (x - mean), or of d."""
    d = d.flatten(2) if d.ndim > 2 else d.unsqueeze(2)
    if x is None:
        return d.sum(2)
    x = x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)
    if d.device.type != "cpu":  # inner products, as one operation
        x = x if mean is None else x - mean[:, None]
        length = d.shape[2]
        return torch.bmm(x.reshape(-1, 1, length), d.reshape(-1, length, 1)).view(d.shape[:2])
    found = d.new_empty(d.shape[:2])
    samples = at_a_time(math.prod(d.shape[1:]), d.device)
    for first in range(0, len(d), samples):
        some = x[first : first + samples]
        block = borrowed("normal", some.movedim(1, 2).shape, some).movedim(2, 1)
        block = torch.mul(some, 1, out=block) if mean is None else torch.sub(some, mean[:, None], out=block)
        found[first : first + samples] = block.mul_(d[first : first + samples]).sum(2)
    return found
