"""Why a sample is flagged, in a word.

In: the prediction, its probability, and the probability of the given label. Out: a reason for every sample,
flagged or not.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

MEANINGS = {
    "mislabelled": "the model finds another class far more probable than the given one, and suggests it",
    "ambiguous": "another class is about as probable as the given one, or several parts of it are doubtful",
    "atypical": "the given label is predicted, or no class is, and the gradient still stands out",
    "duplicate": "another sample has the same inputs and another label",
    "corrupt": "the input has the same value everywhere, as a picture of one colour",
    "leak": "another dataset has the same or nearly the same inputs, and no other class is far more probable",
    "near_duplicate": "another sample has nearly the same inputs, and no other class is far more probable",
    "far": "far from all others of its class, and no other class is far more probable",
    "dark": "a picture almost without bright pixels, and no other class is far more probable",
    "bright": "a picture almost without dark pixels, and no other class is far more probable",
    "odd_size": "a picture far smaller or larger than the others, and no other class is far more probable",
    "odd_shape": "a picture far wider or higher than the others, and no other class is far more probable",
    "blurred": "a picture with far less detail than the others, and no other class is far more probable",
}
"""The meaning of each reason, as reports show it."""
REASONS = tuple(MEANINGS)
PICTURES = ("", "blank", "dark", "bright", "odd_size", "odd_shape", "blurred")
"""What is wrong with a picture; nothing comes first, and of several the first is told."""
DUPLICATE, CORRUPT = "duplicate", "corrupt"
_OF_PICTURES = np.array([REASONS.index(word) if word in REASONS else -1 for word in PICTURES])
"""The reason for each of ``PICTURES``; a blank one is corrupt by its values."""
_FAR = 2.0
"""A class that is so many times as probable as the given one is far more probable."""
_SURE = 0.6
"""Where the given label is predicted with a lower probability, the sample is ambiguous."""


def reasons(
    differs: Bool[np.ndarray, " n"],
    confidence: Float[np.ndarray, " n"],
    probability: Float[np.ndarray, " n"],
    duplicate: Bool[np.ndarray, " n"],
    blank: Bool[np.ndarray, " n"],
    picture: UInt8[np.ndarray, " n"],
    near_duplicate: Bool[np.ndarray, " n"] | None = None,
    leaks: Bool[np.ndarray, " n"] | None = None,
    far: Bool[np.ndarray, " n"] | None = None,
) -> Int64[np.ndarray, " n"]:
    """An index into ``REASONS`` for each sample.

    Args:
        differs: Whether another class than the given one is predicted.
        confidence: The probability of that class; used only there.
        probability: The probability of the given label; NaN where there are no classes.
        duplicate: Whether another sample has the same inputs and another label.
        blank: Whether the input has the same value everywhere, or is a picture of one colour.
        picture: What is wrong with the picture, an index into ``PICTURES``.
        near_duplicate: Whether another sample with nearly the same inputs is to be kept; by default none.
        leaks: Whether another dataset has nearly the same inputs; by default none.
        far: Whether it is far from all other samples; by default none.
    """
    with np.errstate(invalid="ignore"):
        doubtful = np.where(differs, confidence < _FAR * probability, probability < _SURE)
    found = np.where(doubtful, 1, np.where(differs, 0, 2))
    poor = _OF_PICTURES[picture]
    suspected = found == 0
    found = np.where(poor >= 0, poor, found)
    for word, those in (("far", far), ("near_duplicate", near_duplicate), ("leak", leaks)):
        if those is not None:
            found[those] = REASONS.index(word)
    found[suspected] = 0
    found[duplicate] = 3
    found[blank] = 4
    return found
