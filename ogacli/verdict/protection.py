"""Protects classes from being trimmed away, whatever the budget flags.

In: the flags of the budget, and the given labels. Out: the remaining flags. All samples of a class that the
model has hardly learned have large gradients; without a limit they would fill the budget.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field

from ogacli.base.blocks import blocks
from ogacli.base.options import Options, Where


class Protect(Options):
    """The ``protect:`` section: what each class keeps. A number alone is ``times``; ``off`` sets no limit."""

    times: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 3.0
    """The largest flagged share of a class, as a multiple of the overall flagged share."""
    keep: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of each class that is never flagged."""
    least: Annotated[int, Field(ge=0)] = 5
    """Samples of each class that are never flagged; all of a class that has no more."""

    def limit(self, samples: int, share: float) -> int:
        """The most samples of a class that may be flagged.

        Args:
            samples: The scored samples of the class.
            share: The flagged share of all scored samples.
        """
        # Rounding in the products must not cost a sample.
        most = math.ceil(self.times * share * samples - 1e-9)
        kept = max(math.ceil(self.keep * samples - 1e-9), min(self.least, samples))
        return min(most, samples - kept)


Protection = Protect | Literal["off"]
DEFAULT = Protect()


def parse_protect(value: object, where: Where = lambda key: "protect") -> Protection:
    """From YAML, or from the settings of a run.

    Args:
        value: ``off``, a multiple, or the keys of ``Protect``.
        where: Names a key of the section in a message.

    Raises:
        ConfigError: It is none of these.
    """
    if value is False or value == "off":  # YAML reads a bare `off` as false
        return "off"
    if isinstance(value, Protect):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Protect.checked({"times": value} if number else value, where)


def protected(
    flagged: Bool[np.ndarray, " n"],
    rank: Int64[np.ndarray, " n"],
    classes: Int64[np.ndarray, " n"],
    protect: Protection,
) -> Bool[np.ndarray, " n"]:
    """Which of the flagged samples stay flagged.

    The most anomalous samples of each class stay flagged, up to its limit. No other samples are flagged in
    place of those that are held back.

    Args:
        flagged: The flags of the budget.
        rank: 1 = most anomalous; 0 where the sample has no score.
        classes: The given labels.
        protect: What each class keeps.
    """
    if protect == "off" or not flagged.any():
        return flagged
    k = 1 + max(int(classes[block].max()) for block in blocks(len(classes)))
    members, found = np.zeros(k, np.int64), np.zeros(k, np.int64)
    for block in blocks(len(classes)):
        members += np.bincount(classes[block][rank[block] > 0], minlength=k)
        found += np.bincount(classes[block][flagged[block]], minlength=k)
    share = found.sum() / members.sum()
    limits = np.array([protect.limit(int(count), share) for count in members])
    over = found > limits
    parts = [
        block.start + (flagged[block] & over[classes[block]]).nonzero()[0] for block in blocks(len(classes))
    ]
    rows = np.concatenate(parts)
    rows = rows[np.lexsort((rank[rows], classes[rows]))]
    kept = flagged.copy()
    begin = 0
    for label in over.nonzero()[0]:
        end = begin + found[label]
        kept[rows[begin + limits[label] : end]] = False
        begin = end
    return kept
