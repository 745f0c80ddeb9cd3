"""Pictures in which little is to be seen, or that are unlike the others: blank, dark, bright, blurred, odd.

In: measures and sizes of all pictures of a dataset. Out: a word for each one that is poor. Each is compared
with the others, so that the way in which pixels were normalised does not matter.
"""

import math

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ogacli.verdict.reasons import PICTURES

_EXTREME = 0.01
"""The share of the pictures that are left out as extreme."""
_DARK, _BRIGHT = 0.25, 0.75
"""Between black (0) and white (1): a dark picture has no brighter pixel, a bright one no darker pixel."""
_STANDS_OUT = 4.0
"""Standard deviations from what is usual, estimated from the median deviation."""
_HALF = math.log(0.5)
"""A blurred picture also has less than half of the usual detail."""
_SIZE, _SHAPE = math.log(4.0), math.log(2.5)
"""An odd picture is so many times larger or smaller, or wider or higher for its size, than the usual one."""
_FEWEST = 50
"""With fewer pictures it is unknown what is usual."""


def judged(
    measures: Float[Tensor, "n 3"], usual: Float[Tensor, "m 3"], blank: Bool[Tensor, " n"]
) -> UInt8[Tensor, " n"]:
    """What is wrong with each picture, an index into ``PICTURES``.

    Black and white are the darkest and the brightest grey of the usual pictures, but for 1 % of them.

    Args:
        measures: Of the pictures; NaN where there is none.
        usual: Of some of them that were chosen at random.
        blank: Whether a picture has one colour.
    """
    seen = ~measures[:, 0].isnan()
    found = torch.where(blank & seen, PICTURES.index("blank"), 0).to(torch.uint8)
    usual = usual[usual.isfinite().all(1)]
    if len(usual) < _FEWEST:
        return found
    black = usual[:, 0].quantile(_EXTREME)
    white = usual[:, 1].quantile(1 - _EXTREME)
    median = usual[:, 2].median()
    spread = 1.4826 * (usual[:, 2] - median).abs().median()
    darkest, brightest, detail = measures.T
    lacking = detail - median
    cases = {
        "blurred": (lacking < -_STANDS_OUT * spread) & (lacking < _HALF),
        "bright": darkest - black > _BRIGHT * (white - black),
        "dark": brightest - black < _DARK * (white - black),
    }
    for word, those in cases.items():
        found[those & ~blank] = PICTURES.index(word)
    return found


def odd(sizes: Float[Tensor, "n 2"], usual: Float[Tensor, "m 2"]) -> UInt8[Tensor, " n"]:
    """Which pictures are odd in size or shape, an index into ``PICTURES``.

    The size is the root of the area, the shape width / height. Both are compared by their logarithms with the
    median: beyond a factor, and beyond 4 standard deviations, estimated from the median deviation.

    Args:
        sizes: Width and height of the files, before any transform; NaN where they are not known.
        usual: Those of some pictures that were chosen at random.
    """
    found = torch.zeros(len(sizes), dtype=torch.uint8)
    usual = usual[usual.isfinite().all(1)].log()
    if len(usual) < _FEWEST:
        return found
    each = sizes.log()
    _mark(found, each.mean(1), usual.mean(1), _SIZE, "odd_size")
    _mark(found, each[:, 0] - each[:, 1], usual[:, 0] - usual[:, 1], _SHAPE, "odd_shape")
    return found


def _mark(
    found: UInt8[Tensor, " n"], each: Float[Tensor, " n"], usual: Float[Tensor, " m"], least: float, word: str
) -> None:
    """Give the word to those that are far from the median of the usual ones, at least by ``least``."""
    median = usual.median()
    spread = 1.4826 * float((usual - median).abs().median())
    found[(each - median).abs() > max(least, _STANDS_OUT * spread)] = PICTURES.index(word)
