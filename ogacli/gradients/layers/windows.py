"""The windows of a convolution: which input positions an output position depends on."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ogacli.gradients.layers.workspace import borrowed


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
