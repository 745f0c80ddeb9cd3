"""Image files -> tensors [c, h, w].

In: names of files in a folder, an archive or a bucket, and the options under ``transform:``. Out: a
``Reader``. A file that cannot be decoded is quarantined.
"""

import io
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from ogacli.base import pictures
from ogacli.base.limits import USUAL, Limits
from ogacli.base.options import Options
from ogacli.base.pictures import Undecodable, opened_picture
from ogacli.data.files import Content, Files
from ogacli.data.reading import Preview, Reader
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

_THUMBNAIL = 96
"""Longer side of a preview, in pixels."""

_PROBES = 8
"""Images whose size is checked before the scan."""

Side = Annotated[int, Field(ge=1)]
Pixels = UInt8[np.ndarray, "h w c"]


class Transform(Options):
    """Preprocessing of an image; values are first divided by 255.

    ``transform: imagenet`` and ``transform: cifar10`` stand for the usual evaluation transforms.
    """

    resize: Side | tuple[Side, Side] | None = None
    """The shorter side, or ``[height, width]``, in pixels; bilinear."""
    crop: Side | tuple[Side, Side] | None = None
    """Crop the centre: the side of a square, or ``[height, width]``, in pixels."""
    mean: tuple[float, ...] | None = None
    """Subtracted from each channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Then each channel is divided by it."""
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
        """Channels of the transformed images."""
        return 1 if self.grayscale else 3

    @property
    def moves_pixels(self) -> bool:
        """Whether an image is resized, cropped or made grey."""
        return self.resize is not None or self.crop is not None or self.grayscale

    def pixels(self, image: Image.Image) -> Pixels:
        """The image converted to RGB or grey, resized and cropped."""
        found = np.asarray(self.moved(_coloured(image, "L" if self.grayscale else "RGB")))
        return found[..., None] if self.grayscale else found

    def moved(self, image: Image.Image, by: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
        """The image resized and cropped; pixels outside are 0."""
        if self.resize is not None:
            image = image.resize(_resized(image.size, self.resize), by)
        if self.crop is not None:
            height, width = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
            left, top = _middle(image.width, width), _middle(image.height, height)
            image = image.crop((left, top, left + width, top + height))
        return image

    def tensor(self, batch: UInt8[np.ndarray, "b h w c"]) -> Float[Tensor, "b c h w"]:
        """Values from 0 to 1, minus the mean, divided by the standard deviation."""
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


class PictureReader(Reader):
    """Reads pictures of any format, which all have one shape after the transform."""

    def __init__(self, n: int, transform: Transform) -> None:
        self.transform = transform
        self.shape: tuple[int, ...] | None = None
        self._settle_shape(n)

    @abstractmethod
    def decode(self, positions: Sequence[int]) -> Iterator[Pixels | Unreadable]:
        """Each picture, resized and cropped; or the reason why it cannot be decoded."""

    def read(self, positions: Sequence[int]) -> tuple[Float[Tensor, "b c h w"] | None, Mapping[int, str]]:
        """The pictures that can be decoded, and the reason for each of the others."""
        readable: list[Pixels] = []
        failures: dict[int, str] = {}
        for i, found in enumerate(self.decode(positions)):
            if isinstance(found, Unreadable):
                failures[i] = str(found)
            elif reason := self.misfit(found):
                failures[i] = reason
            else:
                readable.append(found)
        return (self.transform.tensor(np.stack(readable)) if readable else None), failures

    def misfit(self, found: Pixels) -> str | None:
        """Why a picture cannot be in a batch with the others; None where it can."""
        if found.shape == (self.shape or found.shape):
            return None
        return f"{_size(found.shape)} pixels, the others {_size(self.shape or ())}"

    def _settle_shape(self, n: int) -> None:
        """Set the shape from a few pictures, evenly spread over the dataset.

        Raises:
            DataError: Their shapes differ. A picture of another shape among the rest is quarantined instead.
        """
        probes = sorted({round(i * (n - 1) / (_PROBES - 1)) for i in range(_PROBES)}) if n else []
        found: dict[tuple[int, ...], int] = {}
        for probe, pixels in zip(probes, self.decode(probes), strict=True):
            if not isinstance(pixels, Unreadable):
                found.setdefault(pixels.shape, probe)
        if len(found) > 1:
            sizes = [f"{_size(shape)} (position {probe})" for shape, probe in found.items()]
            raise DataError(
                "the images differ in size",
                found=", ".join(sizes[:3]),
                expected="one size",
                hint="set `transform: {resize: .., crop: ..}` or `transform: imagenet`, as in training",
            )
        self.shape = next(iter(found), None)


class ImageReader(PictureReader):
    """Reads image files."""

    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __init__(
        self,
        files: Files,
        names: pa.StringArray,
        transform: Transform,
        *,
        limits: Limits = USUAL,
        notes: Sequence[str] = (),
        others: Sequence[str] = (),
    ) -> None:
        """Find the size of the pictures.

        Args:
            files: Where they are.
            names: The file of each sample.
            transform: Of the pictures.
            limits: Of the size of each picture.
            notes: What was found beside the samples.
            others: Files beside the samples that are none.
        """
        self.files = files
        self.names = names
        self.limits = limits
        self.notes = tuple(notes)
        self.others = tuple(others)
        # In shared memory, as worker processes write to it.
        self._sizes = torch.full((len(names), 2), torch.nan).share_memory_()
        super().__init__(len(names), transform)

    def decode(self, positions: Sequence[int]) -> Iterator[Pixels | Unreadable]:
        """Each file in turn."""
        for position, content in zip(positions, self.fetch(positions), strict=True):
            try:
                with opened(content, self.limits) as image, decoding():
                    self._sizes[position] = torch.tensor(image.size)
                    pixels: Pixels | Unreadable = self.transform.pixels(image)
            except Unreadable as reason:
                pixels = reason
            yield pixels

    def picture_sizes(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m 2"]:
        """Width and height of those that were decoded."""
        found: Float[Tensor, "m 2"] = self._sizes[positions]
        return found

    def preview(self, position: int) -> Preview:
        """The image before the transform, made small."""
        with opened(next(self.fetch([position])), self.limits) as image:
            return thumbnail(image)

    def file(self, position: int) -> Path | bytes | None:
        """The path, or the bytes where the file has no path."""
        return self.other_file(self.names[position].as_py())

    def other_file(self, name: str) -> Path | bytes:
        """The path of any file there, or its bytes where it has none."""
        path = self.files.path(name)
        if path is not None:
            return path
        content = next(self.files.fetch([name]))
        if isinstance(content, Unreadable):
            raise content
        return content

    def fetch(self, positions: Sequence[int]) -> Iterator[Content]:
        """The content of each file."""
        return self.files.fetch(self.names.take(pa.array(positions, pa.int64())).to_pylist())


def thumbnail(image: Image.Image) -> Preview:
    """An image as a small PNG.

    Raises:
        Unreadable: It is damaged.
    """
    with decoding():
        small = _coloured(image, "RGB")
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return Preview("image", buffer.getvalue())


@contextmanager
def decoding() -> Iterator[None]:
    """Turn the errors of Pillow for damaged files into ``Unreadable``."""
    try:
        with pictures.decoding():
            yield
    except Undecodable as error:
        raise Unreadable(str(error)) from None


def opened(content: Content, limits: Limits) -> Image.Image:
    """The picture in a file, of which nothing but the size was read.

    Raises:
        Unreadable: The file could not be read, or is no picture.
    """
    if isinstance(content, Unreadable):
        raise content
    with decoding():
        return opened_picture(content, limits)


def _coloured(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image.copy()
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit pictures at 255.
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape[:2])


def _middle(length: int, part: int) -> int:
    """Where the centre begins; negative where the image is too small, which is then padded with zeros."""
    return round((length - part) / 2) if length >= part else -((part - length) // 2)


def _resized(size: tuple[int, int], to: int | tuple[int, int]) -> tuple[int, int]:
    """Width and height, the shorter side ``to`` and the longer in proportion."""
    if not isinstance(to, int):
        return to[1], to[0]
    width, height = size
    if width <= height:
        return to, int(to * height / width)
    return int(to * width / height), to
