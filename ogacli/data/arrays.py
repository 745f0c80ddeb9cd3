"""Inputs that are rows of an array, in memory or mapped from a file.

In: an array [n, ...]. Out: a reader of its rows, previews of pictures, and a hash of the array.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image

from ogacli.data.files.npy import Rows, check_kind
from ogacli.data.images import Transform, thumbnail
from ogacli.data.reading import Preview, Reader
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError


def array_reader(inputs: Rows, place: str, transform: Transform | None = None) -> Reader:
    """The reader of an array.

    Args:
        inputs: Numbers [n, ...]; ``uint8`` rows with the shape of a picture are pictures.
        place: The array in error messages.
        transform: Applied to pictures.

    Raises:
        DataError: The array does not hold numbers.
    """
    if not np.issubdtype(inputs.dtype, np.number) and inputs.dtype != np.bool_:
        raise DataError("the inputs are not numbers", place=place, found=inputs.dtype)
    check_kind(inputs.dtype, place)
    image = inputs.dtype == np.uint8 and channel_axis(inputs.shape[1:]) is not None
    return ArrayReader(inputs, image=image, transform=transform)


def digest(array: Rows) -> str:
    """SHA-256 of the shape, type and bytes of an array, read a few megabytes at a time."""
    found = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    row = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    step = max(1, (1 << 23) // max(1, row))
    for start in range(0, array.shape[0], step):
        found.update(np.ascontiguousarray(array[start : start + step]).data)
    return found.hexdigest()


class ArrayReader(Reader):
    """Reads rows of an array that lies in memory or in a file.

    Args:
        inputs: The array.
        image: Whether rows are pictures.
        columns: The names of the columns, where rows are features.
        transform: Applied to ``uint8`` pictures.
    """

    in_memory = True

    def __init__(
        self,
        inputs: Rows,
        *,
        image: bool = False,
        columns: Sequence[str] = (),
        transform: Transform | None = None,
    ) -> None:
        self.inputs = inputs
        self.image = image
        self.columns = tuple(columns)
        self.transform = transform or Transform()
        self.missing = False
        """Whether samples with missing values (NaN) are returned; otherwise they are quarantined."""

    def with_missing(self) -> "ArrayReader":
        """A reader of the same rows that returns samples with missing values."""
        found = copy.copy(self)
        found.missing = True
        return found

    def read(self, positions: Sequence[int]) -> tuple[torch.Tensor | None, Mapping[int, str]]:
        """The rows as a float32 (or int64) tensor; rows that are not finite are quarantined."""
        rows = np.ascontiguousarray(self.inputs[np.asarray(positions, dtype=np.int64)])
        if rows.dtype == np.uint8:
            return self._pictures(rows) if self.image else torch.from_numpy(rows).float().div_(255), {}
        found = torch.from_numpy(rows.astype(rows.dtype.newbyteorder("="), copy=False))
        if not found.is_floating_point():
            return found.to(torch.int64), {}
        found = found.to(torch.float32)
        if torch.isfinite(found.sum()):  # much faster than a check of each value
            return found, {}
        finite = (found.isfinite() | found.isnan() if self.missing else found.isfinite()).flatten(1)
        good = finite.all(1)
        if good.all():
            return found, {}
        bad = {i: self._complaint(finite[i]) for i in (~good).nonzero()[:, 0].tolist()}
        return (found[good] if good.any() else None), bad

    def preview(self, position: int) -> Preview:
        """The picture where rows are pictures, otherwise the first values as text."""
        row = np.asarray(self.inputs[np.array([position])])[0]
        if self.image:
            return picture(row)
        return first_values(row, self.columns)

    def _complaint(self, finite: torch.Tensor) -> str:
        if not self.columns:
            return "a value of the input is not finite"
        names = [name for name, fine in zip(self.columns, finite.tolist(), strict=True) if not fine]
        return f"missing or not finite: {', '.join(names[:3])}" + (", .." if len(names) > 3 else "")

    def _pictures(self, rows: UInt8[np.ndarray, "b ..."]) -> torch.Tensor:
        rows = np.stack([channels_last(row) for row in rows])
        if self.transform.moves_pixels:
            pictures = (Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row) for row in rows)
            rows = np.stack([self.transform.pixels(picture) for picture in pictures])
        return self.transform.tensor(rows)


class NoInputs(Reader):
    """Reader of samples without inputs, for a ``precomputed`` model."""

    in_memory = True

    def read(self, positions: Sequence[int]) -> tuple[None, Mapping[int, str]]:
        """No inputs and no failures."""
        return None, {}

    def preview(self, position: int) -> Preview:
        """There is no preview.

        Raises:
            Unreadable: Always.
        """
        raise Unreadable("the inputs were not given")


def first_values(row: Shaped[np.ndarray, "..."], columns: Sequence[str] = ()) -> Preview:
    """The first twelve values as text, with the names of their columns where these are given."""
    values = [f"{value:.4g}" for value in row.reshape(-1)[:12]]
    if columns:
        values = [f"{name}: {value}" for name, value in zip(columns, values, strict=False)]
    return Preview("text", (", ".join(values) + (", …" if row.size > 12 else "")).encode())


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of the channels of a picture, -1 for [h, w]; None where the shape is not that of a picture."""
    if len(shape) == 2:
        return -1
    if len(shape) == 3:
        for channels in ((1, 3), (4,)):
            for axis in (-1, 0):
                if shape[axis] in channels:
                    return axis
    return None


def channels_last(row: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w c"]:
    """A picture [h, w], [c, h, w] or [h, w, c] as [h, w, c]."""
    if row.ndim == 2:
        return row[..., None]
    return np.moveaxis(row, 0, -1) if channel_axis(row.shape) == 0 else row


def picture(row: Shaped[np.ndarray, "..."]) -> Preview:
    """An array [h, w], [c, h, w] or [h, w, c] of bytes, or of floats from 0 to 1, as a small PNG.

    Raises:
        Unreadable: A value is not finite.
    """
    row = channels_last(row)
    if row.shape[-1] == 1:
        row = row[..., 0]
    if row.dtype != np.uint8:
        low, high = float(row.min()), float(row.max())
        if not np.isfinite([low, high]).all():
            raise Unreadable("a value of the input is not finite")
        if low < 0 or high > 1:
            row = (row - low) / ((high - low) or 1)
        row = (row * 255).astype(np.uint8)
    return thumbnail(Image.fromarray(row))
