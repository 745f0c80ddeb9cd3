"""Image files -> tensors [c, h, w].

In: names of files in a folder, an archive or a bucket, and the options under ``transform:``. Out: a
``Reader``. A file that cannot be decoded is quarantined.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from ogacli.data.files import Content, Files
from ogacli.data.samples import Preview, Unreadable
from ogacli.errors import DataError
from ogacli.options import Options

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as an image file."""

_THUMBNAIL = 96
"""Longer side of a preview, in pixels."""

_PROBES = 8
"""Images whose size is looked at before the scan."""

Side = Annotated[int, Field(ge=1)]
Pixels = UInt8[np.ndarray, "h w c"]


class Transform(Options):
    """What is done to an image before the network sees it; values are first divided by 255.

    ``transform: imagenet`` and ``transform: cifar10`` stand for the usual evaluation transforms.
    """

    resize: Side | tuple[Side, Side] | None = None
    """The shorter side, or ``[height, width]``, in pixels; bilinear."""
    crop: Side | tuple[Side, Side] | None = None
    """Cut this much out of the middle: a square's side, or ``[height, width]``."""
    mean: tuple[float, ...] | None = None
    """Taken off each channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """What each channel is then divided by."""
    grayscale: bool = False
    """One channel instead of three."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in PRESETS:
                raise ValueError(f"no such transform; one of {', '.join(PRESETS)}, or keys and values")
            return PRESETS[value]
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Transform":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, self.channels):
                raise ValueError(f"`{name}` needs one value, or one for each of {self.channels} channels")
        return self

    @property
    def channels(self) -> int:
        """Of the images that come out."""
        return 1 if self.grayscale else 3

    @property
    def moves_pixels(self) -> bool:
        """True where more is done than to scale values."""
        return self.resize is not None or self.crop is not None or self.grayscale

    def pixels(self, image: Image.Image) -> Pixels:
        """Resized, cropped, and in the right colours."""
        image = _coloured(image, "L" if self.grayscale else "RGB")
        if self.resize is not None:
            image = image.resize(_resized(image.size, self.resize), Image.Resampling.BILINEAR)
        if self.crop is not None:
            height, width = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            image = image.crop((left, top, left + width, top + height))
        found = np.asarray(image)
        return found[..., None] if self.grayscale else found

    def tensor(self, batch: UInt8[np.ndarray, "b h w c"]) -> Float[Tensor, "b c h w"]:
        """The values from 0 to 1, less the mean, over the standard deviation."""
        found = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().float().div_(255)
        if self.mean is not None:
            found -= torch.tensor(self.mean).reshape(-1, 1, 1)
        if self.std is not None:
            found /= torch.tensor(self.std).reshape(-1, 1, 1)
        return found


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {
        "resize": 256,
        "crop": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
    "cifar10": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)},
}


class ImageReader:
    """Reads image files."""

    in_memory = False

    def __init__(self, files: Files, names: pa.StringArray, transform: Transform) -> None:
        self.files = files
        self.names = names
        self.transform = transform
        self.shape = self._common_shape()

    def read(self, positions: Sequence[int]) -> tuple[Float[Tensor, "b c h w"] | None, Mapping[int, str]]:
        """The images that can be decoded, and why the others cannot."""
        readable: list[Pixels] = []
        failures: dict[int, str] = {}
        for i, content in enumerate(self._fetch(positions)):
            try:
                readable.append(self._checked(_pixels(content, self.transform)))
            except Unreadable as reason:
                failures[i] = str(reason)
        if not readable:
            return None, failures
        return self.transform.tensor(np.stack(readable)), failures

    def preview(self, position: int) -> Preview:
        """The image as it lies in its file, made small."""
        with _opened(next(self._fetch([position]))) as image:
            return thumbnail(_coloured(image, "RGB"))

    def file(self, position: int) -> Path | bytes | None:
        """The path, or the bytes where there is none."""
        path = self.files.path(self.names[position].as_py())
        if path is not None:
            return path
        content = next(self._fetch([position]))
        if isinstance(content, Unreadable):
            raise content
        return content

    def _fetch(self, positions: Sequence[int]) -> Iterator[Content]:
        return self.files.fetch(self.names.take(pa.array(positions, pa.int64())).to_pylist())

    def _common_shape(self) -> tuple[int, ...] | None:
        """The shape that all images must come out with; None where not even a few can be read.

        Raises:
            DataError: The first few looked at differ already.
        """
        probes = np.unique(np.linspace(0, len(self.names) - 1, _PROBES).astype(int)) if len(self.names) else []
        found: dict[tuple[int, ...], str] = {}
        for probe, content in zip(probes, self._fetch(probes), strict=True):
            try:
                found.setdefault(_pixels(content, self.transform).shape, self.names[int(probe)].as_py())
            except Unreadable:
                continue
        if len(found) > 1:
            sizes = [f"{shape[0]} x {shape[1]} ({name})" for shape, name in found.items()]
            raise DataError(
                "the images differ in size",
                found=", ".join(sizes[:3]),
                hint="say `transform: {resize: .., crop: ..}`, as in training, or `transform: imagenet`",
            )
        return next(iter(found), None)

    def _checked(self, pixels: Pixels) -> Pixels:
        if self.shape is not None and pixels.shape != self.shape:
            raise Unreadable(
                f"{pixels.shape[0]} x {pixels.shape[1]} pixels, the others {self.shape[0]} x {self.shape[1]}"
            )
        return pixels


def thumbnail(image: Image.Image) -> Preview:
    """An image as a small PNG."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return Preview("image", buffer.getvalue())


def _pixels(content: Content, transform: Transform) -> Pixels:
    """Decode one file.

    Raises:
        Unreadable: It is no image, or damaged.
    """
    if not transform.moves_pixels and isinstance(content, bytes) and content.startswith(b"\xff\xd8"):
        found = _jpeg(content)
        if found is not None:
            return found
    with _opened(content) as image:
        try:
            return transform.pixels(image)
        except (OSError, SyntaxError, ValueError, MemoryError) as error:
            raise Unreadable(f"cannot be decoded: {error}") from None


def _opened(content: Content) -> Image.Image:
    if isinstance(content, Unreadable):
        raise content
    if not content:
        raise Unreadable("the file is empty")
    try:
        return Image.open(io.BytesIO(content))
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(f"cannot be decoded: {error}") from None


def _jpeg(content: bytes) -> Pixels | None:
    """torchvision's decoder gives the same pixels in a third of the time; PIL judges what it refuses."""
    from torchvision.io import decode_jpeg

    try:
        found = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    except RuntimeError:
        return None
    return found.permute(1, 2, 0).numpy() if found.shape[0] == 3 else None


def _coloured(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image
    if image.mode.startswith("I"):
        # 16-bit pictures would be cut off at 255.
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def _resized(size: tuple[int, int], to: int | tuple[int, int]) -> tuple[int, int]:
    """Width and height, the shorter side ``to`` and the longer in proportion."""
    if not isinstance(to, int):
        return to[1], to[0]
    width, height = size
    if width <= height:
        return to, int(to * height / width)
    return int(to * width / height), to
