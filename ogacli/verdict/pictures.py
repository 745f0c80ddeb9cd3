"""Pictures in which little is to be seen: blank, dark, bright or blurred.

In: measures of all pictures of a dataset. Out: a word for each one that is poor. Each is compared with the
others, so that the way in which pixels were normalised does not matter.
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
_BLURRED = 4.0
"""Standard deviations below the usual detail, estimated from the median deviation."""
_HALF = math.log(0.5)
"""A blurred picture also has less than half of the usual detail."""
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
        "blurred": (lacking < -_BLURRED * spread) & (lacking < _HALF),
        "bright": darkest - black > _BRIGHT * (white - black),
        "dark": brightest - black < _DARK * (white - black),
    }
    for word, those in cases.items():
        found[those & ~blank] = PICTURES.index(word)
    return found
