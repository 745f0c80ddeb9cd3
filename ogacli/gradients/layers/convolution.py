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
from ogacli.gradients.layers.linear import WRITTEN, positions_summed
from ogacli.gradients.layers.part import Factors, Part, Sums
from ogacli.gradients.layers.plain import reduced
from ogacli.gradients.layers.workspace import at_a_time, borrowed, picked

_SHIFTED = 16
"""Measured: as many multiplications take as long as adding one number of a shifted Gram matrix."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Shape of the windows: which input positions an output position depends on; a number a dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    """Zeros before the first input position."""
    dilation: tuple[int, ...]

    def reach(self, outputs: Sequence[int]) -> tuple[int, ...]:
        """Number of input positions, padding included, below this many output positions."""
        return tuple(
            (q - 1) * s + (k - 1) * g + 1
            for q, s, k, g in zip(outputs, self.stride, self.kernel, self.dilation, strict=True)
        )

    def padded(self, a: Float[Tensor, "b ... i"], size: Sequence[int], name: str) -> Float[Tensor, "b ... i"]:
        """The input, zero-padded, in a reused buffer; positions that no window covers are cut off."""
        inside = a.shape[1:-1]
        if tuple(size) == tuple(inside) and not any(self.padding):
            return a
        buffer = borrowed(name, (len(a), *size, a.shape[-1]), a).zero_()
        taken = [min(n, m - p) for n, m, p in zip(inside, size, self.padding, strict=True)]
        target = tuple(slice(p, p + n) for p, n in zip(self.padding, taken, strict=True))
        source = tuple(slice(0, n) for n in taken)
        buffer[(slice(None), *target)] = a[(slice(None), *source)]
        return buffer

    def seen(self, offset: Sequence[int], outputs: Sequence[int], inputs: Sequence[int]) -> "Overlap":
        """Output positions at which kernel element ``offset`` is inside the input, and these inputs."""
        there, here = [], []
        sizes = zip(offset, outputs, inputs, self.stride, self.padding, self.dilation, strict=True)
        for u, q, n, s, p, g in sizes:
            shift = u * g - p
            low = max(0, -(shift // s))
            high = max(low, min(q, (n - 1 - shift) // s + 1))
            there.append(slice(low, high))
            start = low * s + shift
            here.append(slice(start, (high - 1) * s + shift + 1 if high > low else start, s))
        return (slice(None), *there), (slice(None), *here)


Overlap = tuple[tuple[slice, ...], tuple[slice, ...]]
"""Index of output positions, and of the input positions that belong to them."""


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

    # --- norms ----------------------------------------------------------------------------------------

    def sums(self, orders: Sequence[int]) -> Sums:
        """By forming the gradients, or, of squares alone, by inner products of positions where cheaper."""
        outputs = self.d.shape[1:-1]
        q, seen = math.prod(outputs), math.prod(self.windows.reach(outputs))
        i, o, taps = self.a.shape[-1], self.d.shape[-1], math.prod(self.windows.kernel)
        by_forming = o * self._width * (q + WRITTEN)
        by_inner_products = seen * seen * i + q * q * (o + _SHIFTED * taps)
        if tuple(orders) == (2,) and self.groups == 1 and by_inner_products < by_forming:
            return {2: self._inner_products()}
        b = len(self.a)
        found = {order: self.a.new_zeros(b, dtype=torch.float64) for order in orders}
        kernel = self.windows.kernel
        each = max(seen * i * math.prod(kernel[1:]), o * self._width // kernel[0])
        samples = at_a_time(each)
        for first in range(0, b, samples):
            here = slice(first, first + samples)
            for block in self.select(here)._formed():
                for order, part in reduced(block, orders).items():
                    found[order][here] += part
        return found

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
        samples = at_a_time(seen * seen + 2 * q * q)
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

    # --- values ---------------------------------------------------------------------------------------

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """One product for each output position an entry."""
        taps = math.prod(self.windows.kernel)
        out, rest = coords // self._width, coords % self._width
        group = out // (self.d.shape[-1] // self.groups)
        channel, tap = rest // taps + group * (self.a.shape[-1] // self.groups), rest % taps
        found = self.a.new_zeros(len(self.a), len(coords))
        offsets = list(product(*map(range, self.windows.kernel)))
        for index in tap.unique().tolist():
            here = (tap == index).nonzero()[:, 0]
            there, seen = self.windows.seen(offsets[index], self.d.shape[1:-1], self.a.shape[1:-1])
            d, a = self.d[there], self.a[seen]
            step = at_a_time(2 * max(1, math.prod(d.shape[:-1])))
            for some in here.split(step):
                product_ = picked(d, out[some], "picked d").mul_(picked(a, channel[some], "picked a"))
                found[:, some] = product_.flatten(1, -2).sum(1)
        return found

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
    parts = [Convolved(a[:, m], d[:, m], windows, groups) for m in range(a.shape[1])]
    return added_up(parts, parts[0].p // parts[0].d.shape[-1])
