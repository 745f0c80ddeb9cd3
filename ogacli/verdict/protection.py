"""Rare classes are not trimmed away: of no class much more is flagged than of all.

In: what the budget flags, and the given labels. Out: what stays flagged. A class that the model hardly knows
has large gradients throughout; without a limit it would fill the budget.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from ogacli.errors import ConfigError

Protect = float | Literal["off"]
"""How many times the share of all that is flagged may be flagged of one class."""
DEFAULT = 3.0


def parse_protect(value: object) -> Protect:
    """From YAML: a number of at least 1, or ``off``.

    Raises:
        ConfigError: It is neither.
    """
    if value is False or value == "off":  # YAML reads a bare `off` as false
        return "off"
    if isinstance(value, int | float) and value is not True and 1 <= value < math.inf:
        return float(value)
    raise ConfigError(
        "not a multiple of the flagged share",
        found=repr(value),
        expected="a number of at least 1, such as 3, or off",
    )


def protected(
    flagged: Bool[np.ndarray, " n"],
    rank: Int64[np.ndarray, " n"],
    classes: Int64[np.ndarray, " n"],
    protect: Protect,
) -> Bool[np.ndarray, " n"]:
    """Which of the flagged samples stay flagged.

    Of each class stay the most anomalous ones, up to ``protect`` times the share of all scored samples that
    is flagged, rounded up to a whole sample. What is held back is not made up for by other samples.

    Args:
        flagged: What the budget flags.
        rank: 1 = most anomalous; 0 where the sample has no score.
        classes: The given labels.
        protect: The multiple, or ``off``.
    """
    scored = rank > 0
    if protect == "off" or not flagged.any():
        return flagged
    share = flagged.sum() / scored.sum()
    kept = flagged.copy()
    for one in np.unique(classes[flagged]):
        own = classes == one
        # Rounding in the product must not cost a sample.
        limit = math.ceil(protect * share * (own & scored).sum() - 1e-9)
        rows = (own & flagged).nonzero()[0]
        if len(rows) > limit:
            kept[rows[rank[rows].argsort(kind="stable")[limit:]]] = False
    return kept
