"""Protects rare classes: limits the flagged share of each class relative to the overall flagged share.

In: the flags of the budget, and the given labels. Out: the remaining flags. All samples of a class that the
model has hardly learned have large gradients; without a limit they would fill the budget.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from ogacli.errors import ConfigError

Protect = float | Literal["off"]
"""The largest flagged share of a class, as a multiple of the overall flagged share."""
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

    The most anomalous samples of each class stay flagged, up to ``protect`` times the flagged share of all
    scored samples, rounded up to a whole sample. No other samples are flagged in place of those that are held
    back.

    Args:
        flagged: The flags of the budget.
        rank: 1 = most anomalous; 0 where the sample has no score.
        classes: The given labels.
        protect: The multiple, or ``off``.
    """
    scored = rank > 0
    if protect == "off" or not flagged.any():
        return flagged
    share = flagged.sum() / scored.sum()
    kept = flagged.copy()
    for label in np.unique(classes[flagged]):
        members = classes == label
        # Rounding in the product must not cost a sample.
        limit = math.ceil(protect * share * (members & scored).sum() - 1e-9)
        rows = (members & flagged).nonzero()[0]
        if len(rows) > limit:
            kept[rows[rank[rows].argsort(kind="stable")[limit:]]] = False
    return kept
