"""Normalisations with a scale and a shift for each channel: ``y = weight * x_hat + bias``.

There are few of these parameters, so their gradients are computed outright: the sums over a sample's
positions of d * x_hat and of d.
"""

from collections.abc import Iterator, Sequence

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
        found = _channel_sums(reading.gradient, reading.first(input), running_mean)
        yield weight, Plain(found * torch.rsqrt(running_var + eps))  # type: ignore[misc]
    if reading.wants(bias):
        yield bias, Plain(_channel_sums(reading.gradient))  # type: ignore[misc]


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
    _check_channels(reading)
    if reading.wants(weight):
        normal = reading.first(F.group_norm(input.detach(), num_groups, None, None, eps))
        yield weight, Plain(_channel_sums(reading.gradient, normal))  # type: ignore[misc]
    if reading.wants(bias):
        yield bias, Plain(_channel_sums(reading.gradient))  # type: ignore[misc]


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
    _check_channels(reading)
    if reading.wants(weight):
        same = (running_mean, running_var, None, None, use_input_stats, 0.0, eps)
        normal = reading.first(F.instance_norm(input.detach(), *same))
        yield weight, Plain(_channel_sums(reading.gradient, normal))  # type: ignore[misc]
    if reading.wants(bias):
        yield bias, Plain(_channel_sums(reading.gradient))  # type: ignore[misc]


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
    if reading.wants(weight):
        normal = F.layer_norm(input.detach(), normalized_shape, None, None, eps)
        yield weight, _over_positions(reading, len(normalized_shape), normal)  # type: ignore[misc]
    if reading.wants(bias):
        yield bias, _over_positions(reading, len(normalized_shape))  # type: ignore[misc]


@reads(F.rms_norm)
def rms_norm(
    reading: Reading,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Iterator[tuple[Tensor, Part]]:
    """Root-mean-square norm over the last dimensions."""
    if reading.wants(weight):
        normal = F.rms_norm(input.detach(), normalized_shape, None, eps)
        yield weight, _over_positions(reading, len(normalized_shape), normal)  # type: ignore[misc]


def _check_channels(reading: Reading) -> None:
    if reading.axis.dim != 0 or reading.gradient.ndim != reading.rank:
        raise NotCovered("a normalisation whose samples are not its first dimension")


def _channel_sums(
    d: Float[Tensor, "b c ..."], x: Float[Tensor, "b c ..."] | None = None, mean: Tensor | None = None
) -> Float[Tensor, "b c"]:
    """The sums over positions of d * (x - mean), or of d."""
    d = d.flatten(2) if d.ndim > 2 else d.unsqueeze(2)
    if x is None:
        return d.sum(2)
    x = x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)
    found = d.new_empty(d.shape[:2])
    samples = at_a_time(d[0].numel())
    for first in range(0, len(d), samples):
        some = x[first : first + samples]
        block = borrowed("normal", some.movedim(1, 2).shape, some).movedim(2, 1)
        block = torch.mul(some, 1, out=block) if mean is None else torch.sub(some, mean[:, None], out=block)
        found[first : first + samples] = block.mul_(d[first : first + samples]).sum(2)
    return found


def _over_positions(reading: Reading, dims: int, normal: Tensor | None = None) -> Plain:
    """The sums over all but the last dimensions of d * normal, or of d."""
    if reading.axis.dim >= reading.rank - dims:
        raise NotCovered("a normalisation over the samples")
    d = reading.gradient
    if normal is not None:
        d = d * reading.first(normal)
    return Plain(d.flatten(d.ndim - dims).reshape(len(d), -1, d[0].shape[-dims:].numel()).sum(1))
