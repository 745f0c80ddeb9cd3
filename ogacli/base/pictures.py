"""Bytes of a picture that may come from anybody -> a picture of Pillow, whose size is within the limits.

Only formats of pixels are read: Pillow would hand a PostScript file to another program, whatever its suffix.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from ogacli.base.limits import USUAL, Limits, raise_limit
from ogacli.base.wording import number

_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "PPM", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF")
"""Formats of pixels, where Pillow has them."""


class Undecodable(Exception):
    """The bytes are no picture that can be read; the message is the reason."""


def opened_picture(content: bytes, limits: Limits = USUAL) -> Image.Image:
    """A picture, of which nothing but the size was read.

    Raises:
        Undecodable: It is empty, no picture, damaged or too large.
    """
    if not content:
        raise Undecodable("the file is empty")
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # its own limit cannot be raised by a key
    try:
        with decoding():
            found = Image.open(io.BytesIO(content), formats=formats)
    finally:
        Image.MAX_IMAGE_PIXELS = usual
    pixels = found.width * found.height
    if pixels > limits.pixels:
        raise Undecodable(
            f"{found.width:,} x {found.height:,} pixels, where {number(limits.pixels)} are read at most; "
            f"{raise_limit('pixels', pixels)}"
        )
    return found


@contextmanager
def decoding() -> Iterator[None]:
    """Within the block, what Pillow raises for damaged files becomes ``Undecodable``.

    Raises:
        Undecodable: The file is damaged.
    """
    try:
        yield
    except (Undecodable, KeyboardInterrupt):
        raise
    except UnidentifiedImageError:
        raise Undecodable("not an image") from None
    except Exception as error:  # its decoders raise whatever their parsing runs into
        raise Undecodable(f"cannot be decoded: {error or type(error).__name__}") from None
