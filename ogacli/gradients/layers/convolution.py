"""Convolutions of any number of dimensions, plain and transposed: a linear layer over windows.

The gradient of a kernel is sum_q d_q w_q', where q runs over the output positions and w_q is the window of
the input at position q. A transposed convolution is the same with input and output gradient swapped.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers import NotCovered, Reading, reads
from ogacli.gradients.layers.combined import added_up
from ogacli.gradients.layers.linear import positions_summed
from ogacli.gradients.layers.part import Factors, Part, PartialSums
from ogacli.gradients.layers.plain import one_below_the_other, row_sums, side_by_side
from ogacli.gradients.layers.unfolded import Unfolded
from ogacli.gradients.layers.windows import Windows
from ogacli.gradients.layers.workspace import at_a_time, borrowed, picked, planned, written

_SHIFTED = 16
"""Measured: as many multiplications take as long as adding one number of a shifted Gram matrix."""


@dataclass(frozen=True, slots=True)
class Convolved(Factors):
    """Factors of the gradients of a kernel [o, i / groups, *kernel]; channels last."""

    a: Float[Tensor, "b ... i"]
    """Input of the convolution."""
    d: Float[Tensor, "b ... o"]
    """Gradient of each sample's loss with respect to the output."""
    windows: Windows
    groups: int

    @property
    def p(self) -> int:
        """Number of weights."""
        return self.d.shape[-1] * self._width

    @property
    def _width(self) -> int:
        return self.a.shape[-1] // self.groups * math.prod(self.windows.kernel)

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """By forming the gradients, or, of order 2 alone, by inner products of positions where cheaper."""
        outputs, extra = self.d.shape[1:-1], written(self.a.device)
        q, seen = math.prod(outputs), math.prod(self.windows.reach(outputs))
        i, o, taps = self.a.shape[-1], self.d.shape[-1], math.prod(self.windows.kernel)
        by_forming = o * self._width * (q + extra)
        by_inner_products = seen * seen * i + q * q * (o + _SHIFTED * taps)
        if tuple(orders) == (2,) and self.groups == 1 and by_inner_products < by_forming:
            return {2: self._inner_products()[:, None]}
        kernel = self.windows.kernel
        each = max(seen * i * math.prod(kernel[1:]), o * self._width // kernel[0])
        samples = at_a_time(each, self.a.device)
        return one_below_the_other(
            side_by_side(
                row_sums(block, orders) for block in self.select(slice(first, first + samples))._formed()
            )
            for first in range(0, max(1, len(self.a)), samples)
        )

    def _formed(self) -> Iterator[Float[Tensor, "c o w"]]:
        """The gradient in blocks, one a row of the kernel, in a reused buffer; ``w`` = other taps x i.

        The input is unfolded along all but the kernel's first dimension. Along the first one, the windows of
        the rows of the kernel are shifted views of the same unfolded input.
        """
        c, o, i = len(self.a), self.d.shape[-1], self.a.shape[-1]
        outputs, (stride, *strides) = self.d.shape[1:-1], self.windows.stride
        kernel, dilation, g = self.windows.kernel, self.windows.dilation, self.groups
        length, *reach = self.windows.reach(outputs)
        length = -(-length // stride) * stride
        a = self.windows.padded(self.a, (length, *reach), "padded")
        of = a.stride()
        across, q = math.prod(outputs[1:]), math.prod(outputs)
        size = (c, g, stride, length // stride, *outputs[1:], *kernel[1:], i // g)
        steps = (
            of[0], i // g * of[-1], of[1], of[1] * stride,
            *(s * n for s, n in zip(strides, of[2:-1], strict=True)),
            *(s * n for s, n in zip(dilation[1:], of[2:-1], strict=True)),
            of[-1],
        )  # fmt: skip
        unfolded = a.as_strided(size, steps, a.storage_offset())
        if not unfolded.is_contiguous():
            unfolded = borrowed("windows", size, a).copy_(unfolded)
        lines = unfolded.reshape(c * g, stride, length // stride * across, -1)
        d = self.d.reshape(c, q, g, o // g).permute(0, 2, 3, 1).reshape(c * g, o // g, q)
        for u in range(kernel[0]):
            phase, start = u * dilation[0] % stride, u * dilation[0] // stride * across
            seen = lines[:, phase, start : start + q]
            block = borrowed("formed", (c * g, o // g, seen.shape[2]), a)
            yield torch.bmm(d, seen, out=block).view(c, o, seen.shape[2])

    def _inner_products(self) -> Float[Tensor, " b"]:
        """Squares as for a linear layer; the Gram matrix of windows is a sum of shifted ones of positions."""
        outputs = self.d.shape[1:-1]
        reach = self.windows.reach(outputs)
        seen, q = math.prod(reach), math.prod(outputs)
        found = self.a.new_empty(len(self.a), dtype=torch.float64)
        samples = at_a_time(seen * seen + 2 * q * q, self.a.device)
        for first in range(0, len(self.a), samples):
            d = self.d[first : first + samples].reshape(-1, q, self.d.shape[-1])
            c = len(d)
            a = self.windows.padded(self.a[first : first + samples], reach, "padded")
            a = a.reshape(c, seen, -1)
            near = torch.bmm(a, a.transpose(1, 2), out=borrowed("inner a", (c, seen, seen), a))
            near = near.view(c, *reach, *reach)
            total = borrowed("inner windows", (c, *outputs, *outputs), a).zero_()
            for offset in product(*map(range, self.windows.kernel)):
                at = tuple(
                    slice(u * g, u * g + (n - 1) * s + 1, s)
                    for u, g, n, s in zip(
                        offset, self.windows.dilation, outputs, self.windows.stride, strict=True
                    )
                )
                total += near[(slice(None), *at, *at)]
            other = torch.bmm(d, d.transpose(1, 2), out=borrowed("inner d", (c, q, q), a))
            found[first : first + samples] = (
                other.mul_(total.view(c, q, q)).sum(2).sum(1, dtype=torch.float64)
            )
        return found.clamp_min_(0)

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """One product for each output position an entry."""
        found = self.a.new_zeros(len(self.a), len(coords))
        key = "convolution", self._width, self.d.shape[-1], self.a.shape[-1], self.groups, self.windows.kernel
        for offset, here, out, channel in planned(coords, key, lambda: list(self._by_tap(coords))):
            there, seen = self.windows.seen(offset, self.d.shape[1:-1], self.a.shape[1:-1])
            d, a = self.d[there], self.a[seen]
            step = at_a_time(2 * max(1, math.prod(d.shape[:-1])), a.device)
            for first in range(0, len(here), step):
                some = slice(first, first + step)
                product_ = picked(d, out[some], "picked d").mul_(picked(a, channel[some], "picked a"))
                found[:, here[some]] = product_.flatten(1, -2).sum(1)
        return found

    def _by_tap(
        self, coords: Int64[Tensor, " f"]
    ) -> Iterator[tuple[tuple[int, ...], Tensor, Tensor, Tensor]]:
        """Each kernel element that occurs, the places of its coordinates, their outputs and their inputs."""
        taps = math.prod(self.windows.kernel)
        out, rest = coords // self._width, coords % self._width
        group = out // (self.d.shape[-1] // self.groups)
        channel, tap = rest // taps + group * (self.a.shape[-1] // self.groups), rest % taps
        offsets = list(product(*map(range, self.windows.kernel)))
        for index in tap.unique().tolist():
            here = (tap == index).nonzero()[:, 0]
            yield offsets[index], here, out[here], channel[here]

    def dense(self) -> Float[Tensor, "b p"]:
        """All of them, in the kernel's own order."""
        b, o, i = len(self.a), self.d.shape[-1], self.a.shape[-1] // self.groups
        rows = [block.view(b, o, -1, i).transpose(2, 3).clone() for block in self._formed()]
        return torch.stack(rows, 3).flatten(1)


@reads(torch.conv1d, torch.conv2d, torch.conv3d)
def convolution(
    reading: Reading,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Iterator[tuple[Tensor, Part]]:
    """A convolution; padding modes other than zeros are a function of their own, called before it."""
    if padding == "same":
        kernel = weight.shape[2:]
        padding = [g * (k - 1) // 2 for g, k in zip(_each(dilation, kernel), kernel, strict=True)]
    windows = _windows(weight, stride, 0 if isinstance(padding, str) else padding, dilation)
    d = _images(reading.gradient, reading.rank)
    if reading.wants(weight):
        yield weight, _convolved(_channels_last(reading, input), d, windows, groups)
    if reading.wants(bias):
        yield bias, positions_summed(d)


@reads(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
def transposed(
    reading: Reading,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Iterator[tuple[Tensor, Part]]:
    """A transposed convolution, weight [i, o / groups, *kernel]."""
    d = _images(reading.gradient, reading.rank)
    if reading.wants(weight):
        windows = _windows(weight, stride, padding, dilation)
        yield weight, _convolved(d, _channels_last(reading, input), windows, groups)
    if reading.wants(bias):
        yield bias, positions_summed(d)


def _windows(weight: Tensor, *options: int | Sequence[int]) -> Windows:
    """The windows of a kernel with that stride, padding and dilation."""
    kernel = tuple(weight.shape[2:])
    return Windows(kernel, *(_each(option, kernel) for option in options))


def _each(value: int | Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * len(kernel)
    return tuple(value) if len(value) == len(kernel) else (value[0],) * len(kernel)


def _channels_last(reading: Reading, tensor: Tensor) -> Tensor:
    if reading.axis.dim != 0:
        raise NotCovered("a convolution whose samples are not its first dimension")
    return _images(reading.first(tensor), tensor.ndim)


def _images(tensor: Tensor, rank: int) -> Tensor:
    """[b, images of a sample (usually 1), positions .., channels]; ``rank`` is that of [b, channels, ..]."""
    return (tensor if tensor.ndim > rank else tensor.unsqueeze(1)).movedim(2, -1)


def _convolved(
    a: Float[Tensor, "b m ... i"], d: Float[Tensor, "b m ... o"], windows: Windows, groups: int
) -> Part:
    kind = Convolved if a.device.type == "cpu" else Unfolded
    parts = [kind(a[:, m], d[:, m], windows, groups) for m in range(a.shape[1])]
    return added_up(parts, parts[0].p // parts[0].d.shape[-1])
