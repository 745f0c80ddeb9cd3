"""Why a sample is flagged, in a word.

In: what the model predicts, how sure it is, and what it gives the label. Out: a reason for every sample;
which of them are told is decided elsewhere.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

MEANINGS = {
    "mislabelled": "the model finds another class far more probable than the given one, and suggests it",
    "ambiguous": "the given class and another one are about as probable",
    "atypical": "the given label is predicted, or no class is, and the gradient still stands out",
    "duplicate": "another sample has the same inputs and another label",
    "corrupt": "the input has the same value everywhere",
}
"""What each reason means."""
REASONS = tuple(MEANINGS)
DUPLICATE, CORRUPT = "duplicate", "corrupt"
_FAR = 2.0
"""So many times as probable is far more probable."""
_SURE = 0.6
"""A prediction of the given label below this is no sure one."""


def reasons(
    differs: Bool[np.ndarray, " n"],
    confidence: Float[np.ndarray, " n"],
    probability: Float[np.ndarray, " n"],
    duplicate: Bool[np.ndarray, " n"],
    blank: Bool[np.ndarray, " n"],
) -> Int64[np.ndarray, " n"]:
    """An index into ``REASONS`` for each sample.

    Args:
        differs: Whether another class than the given one is predicted.
        confidence: The probability of that class; looked at only there.
        probability: The probability of the given label; NaN where there are no classes.
        duplicate: Whether another sample has the same inputs and another label.
        blank: Whether the input has the same value everywhere.
    """
    with np.errstate(invalid="ignore"):
        doubtful = np.where(differs, confidence < _FAR * probability, probability < _SURE)
    found = np.where(doubtful, 1, np.where(differs, 0, 2))
    found[duplicate] = 3
    found[blank] = 4
    return found
