"""Regions of masks that are probably wrong, as rows of ``issues.parquet``.

In: the regions that a scan found. Out: the columns that differ from those of other cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:  # reading a run needs no torch
    from jaxtyping import Int64

    from ogacli.data import Samples

WRONG_REGION = "wrong region"
"""The reason: another class of the pixels is more probable."""


def has_regions(samples: Samples) -> bool:
    """Whether the label of a sample is a class a pixel."""
    from ogacli.data.labels.label_types import PixelClasses

    return isinstance(samples.label_type, PixelClasses)


def region_columns(
    samples: Samples, region: Int64[np.ndarray, "m 6"], suggested: Int64[np.ndarray, " m"]
) -> dict[str, Any]:
    """The columns of ``issues.parquet`` that differ from those of other cells.

    Args:
        samples: The dataset.
        region: The given class of each, left, top, right, bottom (the last two beyond the region), in pixels
            of the mask as the network sees it; and the number of its pixels.
        suggested: The index of its suggested class.
    """
    k, highest = len(samples.classes), int(suggested.max(initial=-1))
    names = pa.array([*samples.classes, *(f"output {i}" for i in range(k, highest + 1))], pa.string())
    return {
        "cell": [f"{pixels} pixels at {left}, {top}" for _, left, top, _, _, pixels in region.tolist()],
        "given": names.take(pa.array(region[:, 0])),
        "suggested": names.take(pa.array(suggested)),
        "box": pa.array(region[:, 1:5].astype(float).tolist(), pa.list_(pa.float64())),
        "reason": [WRONG_REGION] * len(region),
    }
