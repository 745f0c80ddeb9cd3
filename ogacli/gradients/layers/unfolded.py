"""Convolutions on a GPU: a linear layer over unfolded windows, in few operations whatever the batch size.

The CPU form in ``convolution`` reads shifted views row by row of the kernel, which saves memory traffic and
takes many more operations.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients.layers.part import Factors, PartialSums
from ogacli.gradients.layers.plain import one_below_the_other, row_sums
from ogacli.gradients.layers.windows import Windows
from ogacli.gradients.layers.workspace import at_a_time, planned, written


@dataclass(frozen=True, slots=True)
class Unfolded(Factors):
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

    @property
    def _q(self) -> int:
        """Number of output positions."""
        return math.prod(self.d.shape[1:-1])

    def partial_sums(self, orders: Sequence[int]) -> PartialSums:
        """By forming the gradients, or, of order 2 alone, by inner products of positions where cheaper."""
        w, o, q, extra = self._width, self.d.shape[-1], self._q, written(self.a.device)
        inner = tuple(orders) == (2,) and self.groups == 1 and q * q * (w + o + extra) < o * w * (q + extra)
        each = self.groups * w * q + (2 * q * q if inner else o * w)
        return one_below_the_other(
            {2: part._inner_products()} if inner else row_sums(part._formed(), orders)
            for part in self._pieces(each)
        )

    def entries(self, coords: Int64[Tensor, " f"]) -> Float[Tensor, "b f"]:
        """One product for each output position an entry."""
        if not len(coords):
            return self.a.new_empty(len(self.a), 0)
        image = self._padded()
        key = "unfolded", image.shape[1:], self._q, self._width, self.groups
        out, places = planned(coords, key, lambda: self._places(coords, image))
        step = at_a_time(2 * len(self.a) * self._q, self.a.device)
        found = []
        d, flat = self._gradient(), image.flatten(1)
        for some in range(0, len(coords), step):
            here = slice(some, some + step)
            read = flat.index_select(1, places[here].flatten()).view(len(flat), -1, self._q)
            found.append(d.index_select(1, out[here]).mul_(read).sum(2))
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def dense(self) -> Float[Tensor, "b p"]:
        """All of them, in the kernel's own order."""
        return self._formed().flatten(1)

    def _pieces(self, each: int) -> Iterator["Unfolded"]:
        """The samples, as many at a time as a block has room for; ``each`` numbers a sample."""
        b, samples = len(self.a), at_a_time(each, self.a.device)
        for first in range(0, max(1, b), samples):
            yield self if samples >= b else self.select(slice(first, first + samples))

    def _padded(self) -> Float[Tensor, "b i ..."]:
        """The input with zeros around it, cut to the positions that windows cover."""
        image = self.a.movedim(-1, 1)
        sides: list[int] = []
        reach = self.windows.reach(self.d.shape[1:-1])
        for size, length, before in zip(self.a.shape[1:-1], reach, self.windows.padding, strict=True):
            sides = [before, length - size - before, *sides]
        return F.pad(image, sides) if any(sides) else image

    def _unfolded(self) -> Float[Tensor, "bg w q"]:
        """The windows of each group of channels."""
        image, g = self._padded(), self.groups
        (b, i), of, w = image.shape[:2], image.stride(), self.windows
        size = b, g, i // g, *w.kernel, *self.d.shape[1:-1]
        within = zip(w.dilation, of[2:], strict=True)
        between = zip(w.stride, of[2:], strict=True)
        steps = of[0], i // g * of[1], of[1], *(n * s for n, s in within), *(n * s for n, s in between)
        windows = image.as_strided(size, steps, image.storage_offset())
        return windows.reshape(b * g, self._width, self._q)

    def _gradient(self) -> Float[Tensor, "b o q"]:
        return self.d.movedim(-1, 1).flatten(2)

    def _formed(self) -> Float[Tensor, "b o w"]:
        b, o = len(self.d), self.d.shape[-1]
        d = self._gradient().reshape(b * self.groups, o // self.groups, self._q)
        return torch.bmm(d, self._unfolded().transpose(1, 2)).view(b, o, self._width)

    def _inner_products(self) -> Float[Tensor, "b 1"]:
        """|sum_q d_q w_q'|^2 = sum_qs (d_q . d_s) (w_q . w_s), as for a linear layer; float64."""
        windows, d = self._unfolded(), self._gradient()
        products = torch.bmm(windows.transpose(1, 2), windows).mul_(torch.bmm(d.transpose(1, 2), d))
        return products.sum(2).sum(1, keepdim=True, dtype=torch.float64).clamp_min_(0)

    def _places(
        self, coords: Int64[Tensor, " f"], image: Float[Tensor, "b i ..."]
    ) -> tuple[Int64[Tensor, " f"], Int64[Tensor, "f q"]]:
        """The output channel of each coordinate, and for each output position the input that it is times."""
        out, rest = coords // self._width, coords % self._width
        group = out // (self.d.shape[-1] // self.groups)
        w, outputs, sizes = self.windows, self.d.shape[1:-1], image.shape[2:]
        taps: list[Tensor] = []
        for length in reversed(w.kernel):
            taps.insert(0, rest % length)
            rest = rest // length
        place = (rest + group * (image.shape[1] // self.groups))[:, None]
        for tap, count, size, stride, dilation in zip(
            taps, outputs, sizes, w.stride, w.dilation, strict=True
        ):
            steps = torch.arange(count, device=coords.device) * stride
            along = tap[:, None] * dilation + steps
            # [f, positions so far] and [f, positions of this dimension]
            place = (place[:, :, None] * size + along[:, None, :]).flatten(1)
        return out, place
