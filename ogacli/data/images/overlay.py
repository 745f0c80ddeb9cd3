"""A picture in the colours of masks, side by side.

In: a picture and masks of it. Out: a ``Preview``: for each mask the picture tinted by class, the outlines of
marked pixels in white.
"""

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image

from ogacli.data.reading import Preview

_SIDE = 128
"""Longer side of each picture, in pixels."""
_TINT = 0.5
"""Weight of the colour of a class; class 0, usually the background, keeps the picture's own colours."""
_GOLDEN = 0.618034
"""Hues of consecutive classes are far apart."""


def overlaid(
    picture: Image.Image,
    masks: Sequence[Int64[np.ndarray, "h w"]],
    marked: Bool[np.ndarray, "h w"] | None = None,
) -> Preview:
    """The picture once for each mask; once without any.

    Args:
        picture: In RGB; of any size.
        masks: Class indices; negative where a pixel has no class.
        marked: Pixels whose outline is drawn.
    """
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    pixels = np.asarray(small)
    panels = [_tinted(pixels, _resized(mask, small.size)) for mask in masks] or [pixels]
    if marked is not None:
        outline = _outline(_resized(marked.astype(np.int64), small.size) > 0)
        for panel in panels:
            panel[outline] = 255
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(panels, 1)).save(buffer, format="PNG")
    return Preview("image", buffer.getvalue())


def colour(index: int) -> tuple[int, int, int]:
    """The colour of a class."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.9, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _tinted(pixels: UInt8[np.ndarray, "h w 3"], mask: Int64[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    found = pixels.copy()
    for index in np.unique(mask[mask > 0]).tolist():
        here = mask == index
        found[here] = (_TINT * np.array(colour(index)) + (1 - _TINT) * pixels[here]).astype(np.uint8)
    return found


def _resized(values: Int64[np.ndarray, "h w"], size: tuple[int, int]) -> Int64[np.ndarray, "h w"]:
    """The nearest value at each pixel of a picture of that width and height."""
    row, column = (
        (np.arange(new) + 0.5) * old / new for new, old in zip(size[::-1], values.shape, strict=True)
    )
    found: Int64[np.ndarray, "h w"] = values[np.ix_(row.astype(int), column.astype(int))]
    return found


def _outline(marked: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The marked pixels beside one that is not marked."""
    around = np.pad(marked, 1)
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    outline: Bool[np.ndarray, "h w"] = marked & ~inside
    return outline
