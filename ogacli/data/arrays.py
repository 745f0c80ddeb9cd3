"""Samples in npy or npz files: ``x`` [n, ...] and ``y`` [n] or [n, k]."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped

from ogacli.data.samples import Preview, Unreadable


def digest(array: Shaped[np.ndarray, "..."]) -> str:
    """SHA-256 of an array's shape, type and bytes, read in slices."""
    found = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    for start in range(0, len(array), 4096):
        found.update(np.ascontiguousarray(array[start : start + 4096]).tobytes())
    return found.hexdigest()


class ArrayReader:
    """Reads rows of an array that lies in memory or is mapped from a file."""

    in_memory = True

    def __init__(self, inputs: Shaped[np.ndarray, "n ..."], *, image: bool = False) -> None:
        self.inputs = inputs
        self.image = image

    def read(self, positions: Sequence[int]) -> tuple[torch.Tensor | None, Mapping[int, str]]:
        """The rows as a float32 (or int64) tensor; rows that are not finite are quarantined."""
        found = torch.from_numpy(np.ascontiguousarray(self.inputs[np.asarray(positions)]))
        if not found.is_floating_point():
            return found.to(torch.int64), {}
        found = found.to(torch.float32)
        finite = torch.isfinite(found).reshape(len(found), -1).all(1)
        if finite.all():
            return found, {}
        bad = {i: "a value of the input is not finite" for i in (~finite).nonzero()[:, 0].tolist()}
        return found[finite], bad

    def preview(self, position: int) -> Preview:
        """A picture where the rows are pictures, otherwise the first values as text."""
        row = np.asarray(self.inputs[position])
        if self.image:
            return picture(row)
        values = ", ".join(f"{value:.4g}" for value in row.reshape(-1)[:12])
        return Preview("text", (values + (", …" if row.size > 12 else "")).encode())

    def file(self, position: int) -> Path | bytes | None:
        """None: rows of an array are not files."""
        return None


def picture(row: Shaped[np.ndarray, "..."]) -> Preview:
    """An array [h, w], [c, h, w] or [h, w, c] of bytes, or of floats from 0 to 1, as a PNG."""
    from PIL import Image

    if row.ndim == 3 and row.shape[0] in (1, 3):
        row = np.moveaxis(row, 0, -1)
    if row.ndim == 3 and row.shape[-1] == 1:
        row = row[..., 0]
    if row.dtype != np.uint8:
        low, high = float(row.min()), float(row.max())
        if not np.isfinite([low, high]).all():
            raise Unreadable("a value of the input is not finite")
        if low < 0 or high > 1:
            row = (row - low) / ((high - low) or 1)
        row = (row * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, format="PNG")
    return Preview("image", buffer.getvalue())
