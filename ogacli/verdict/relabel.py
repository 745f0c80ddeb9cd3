"""The bound from which a suggested label replaces the given one of a flagged sample.

In: the probabilities of the suggested labels. Out: which of the flagged samples are relabelled.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from ogacli.base.options import Options


class Relabel(Options):
    """The ``relabel:`` section: which flagged samples get the suggested label; the others are dropped."""

    above: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """The suggested label must be more probable than this."""

    def relabelled(
        self, flagged: Bool[np.ndarray, " n"], confidence: Float[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Which flagged samples get the suggested label.

        Args:
            flagged: The flags.
            confidence: The probability of the suggested label; NaN where there is none.
        """
        found: Bool[np.ndarray, " n"] = flagged & (confidence > self.above)
        return found


DEFAULT = Relabel()
