"""The columns of ``beside.parquet`` and ``gradient_map.parquet``.

``beside.parquet`` names the samples that a person compares with one of the most anomalous ones.
"""

from typing import Final, Literal

import pyarrow as pa

GIVEN: Final = "given"
"""One of the nearest samples of the given class that are not flagged."""
SUGGESTED: Final = "suggested"
"""One of the nearest samples of the suggested class that are not flagged."""
NEAREST: Final = "nearest"
"""One of the nearest samples of all, where samples do not have one class each."""
SAME: Final = "same"
"""A sample with the same inputs."""
NEAR: Final = "near"
"""A sample of the same group of near-duplicates; the one to keep comes first."""
Role = Literal["given", "suggested", "nearest", "same", "near"]

BESIDE = pa.schema(
    [("position", pa.int64()), ("role", pa.string()), ("order", pa.int64()), ("other", pa.int64())]
)
"""Position of a sample, role and position of the other one, and its place among those of that role."""
MAP = pa.schema([("position", pa.int64()), ("x", pa.float64()), ("y", pa.float64())])
"""Two coordinates of the gradient of some samples."""
