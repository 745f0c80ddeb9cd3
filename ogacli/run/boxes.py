"""Boxes of pictures that are probably wrong or missing, as rows of ``issues.parquet``.

In: the boxes that a scan found. Out: the columns that differ from those of other cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:  # reading a run needs no torch
    from jaxtyping import Int64

    from ogacli.data import Samples
    from ogacli.verdict.boxes import BoxFindings

NO_OBJECT, MISSING, OTHER_CLASS, MOVED = "no object", "missing box", "other class", "badly placed"
MEANINGS = {
    NO_OBJECT: "the network finds no object where the box is",
    MISSING: "the network finds an object that no box has",
    OTHER_CLASS: "the network finds an object of another class in the box",
    MOVED: "the box is not where the network finds its object",
}
"""What is wrong with a box."""
SUGGESTED_BOX = pa.field("suggested_box", pa.list_(pa.float64()))
"""A further column of ``issues.parquet``: the corners of the box to put in place of ``box``."""


def has_boxes(samples: Samples) -> bool:
    """Whether the label of a sample is a number of boxes."""
    from ogacli.data.images.boxes import BoxCounts

    return isinstance(samples.label_type, BoxCounts)


def box_columns(
    cells: BoxFindings, samples: Samples, row: Int64[np.ndarray, " m"], place: Int64[np.ndarray, " m"]
) -> dict[str, Any]:
    """The columns of ``issues.parquet`` that differ from those of other cells.

    Args:
        cells: The most doubtful boxes of all pictures.
        samples: The pictures.
        row: The picture of each box.
        place: Its place among the doubtful boxes of the picture.
    """
    given, suggested = (one.numpy()[row, place].astype(int) for one in (cells.given, cells.suggested))
    own, other = np.split(cells.boxes.double().numpy()[row, place], 2, axis=1)
    index = cells.index.numpy()[row, place]
    names = np.array([*samples.classes, None], dtype=object)
    return {
        "index": pa.array(index, mask=given < 0),
        "cell": [f"box {i}" if kind >= 0 else MISSING for i, kind in zip(index, given, strict=True)],
        "given": names[given],
        "suggested": names[suggested],
        "box": np.where(given[:, None] >= 0, own, other).tolist(),
        SUGGESTED_BOX.name: [
            box.tolist() if kind >= 0 else None for box, kind in zip(other, suggested, strict=True)
        ],
        "reason": [what_is_wrong(*pair) for pair in zip(given, suggested, strict=True)],
    }


def what_is_wrong(given: int, suggested: int) -> str:
    """The reason of a box, by its class and the one that is suggested; -1 for no box."""
    if given < 0:
        return MISSING
    if suggested < 0:
        return NO_OBJECT
    return MOVED if suggested == given else OTHER_CLASS
