"""Pictures with boxes, for object detection.

In: pictures, and for each the boxes with their classes. Out: readers of ``Boxed`` pictures, and targets: the
number of boxes of each class.
"""

import io
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from ogacli.base.limits import USUAL, Limits
from ogacli.data.files import Files
from ogacli.data.images import Transform, decoding, opened, thumbnail
from ogacli.data.images.box_lists import BoxLists
from ogacli.data.labels import Targets
from ogacli.data.labels.label_types import Labels, SeveralClasses
from ogacli.data.reading import Errors, Preview, Reader
from ogacli.data.unreadable import Unreadable

_LEAST = 1e-3
"""Pixels: a box that is narrower has no area."""
_TOUCHING = 0.1
"""A true box that overlaps a wrong one by as much of their union is its right place, and not missing."""
_PANEL, _GAP = 240, 4
"""Longer side of a picture with boxes, and between two of them, in pixels."""


class Boxed(NamedTuple):
    """One picture with its boxes."""

    picture: UInt8[Tensor, "3 h w"]
    boxes: Float[Tensor, "m 4"]
    """Left, top, right and bottom of each box, in pixels; inside the picture."""
    classes: Int64[Tensor, " m"]
    """The class of each box, from 0."""


class BoxCounts(SeveralClasses):
    """The number of boxes of each class, float [n, k]; the boxes themselves are read with the pictures."""

    held = False

    def column(self, labels: Labels, classes: Sequence[str]) -> pa.Array:
        """Lists of class names, as often as there are boxes of the class."""
        owners, members = labels.nonzero(as_tuple=True)
        times = labels[owners, members].long()
        names = pa.array(classes, pa.string()).take(pa.array(members.repeat_interleave(times).numpy()))
        ends = torch.cat([torch.zeros(1), labels.sum(1).cumsum(0)]).int()
        return pa.ListArray.from_arrays(pa.array(ends.numpy()), names)

    def counts(self, labels: Labels, classes: Sequence[str]) -> Int64[Tensor, " k"]:
        """The number of pictures in which each class occurs."""
        return (labels > 0).sum(0)


class PicturesWithBoxes(Reader):
    """Base of what reads pictures with their boxes.

    Args:
        lists: The boxes of each sample.
        truth: The true boxes of each sample, where they are known.
    """

    def __init__(self, lists: BoxLists, truth: BoxLists | None = None) -> None:
        self.lists = lists
        self.truth = truth

    @abstractmethod
    def pictures(self, positions: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"] | Unreadable]:
        """Each picture, or why it cannot be used."""

    def read(self, positions: Sequence[int]) -> tuple[list[Boxed] | None, Mapping[int, str]]:
        """Pictures and boxes; a picture is quarantined if it cannot be read, or if a box does not fit it."""
        found, failures = list[Boxed](), dict[int, str]()
        for i, (position, pixels) in enumerate(zip(positions, self.pictures(positions), strict=True)):
            try:
                if isinstance(pixels, Unreadable):
                    raise pixels
                found.append(self._boxed(position, pixels))
            except Unreadable as reason:
                failures[i] = str(reason)
        return found or None, failures

    def errors(self, position: int) -> Errors:
        """The boxes that are not among the true ones, and the true ones that no given box touches."""
        from torchvision.ops import box_iou

        if self.truth is None:
            return super().errors(position)
        near = self.lists.alike(self.truth, position)
        (given, classes), (true, _) = self.lists.at(position), self.truth.at(position)
        size = (1, 1)
        if self.lists.relative:
            pixels = next(iter(self.pictures([position])))
            if isinstance(pixels, Unreadable):
                return super().errors(position)
            size = pixels.shape[1::-1]
        wrong, lacking = (
            torch.from_numpy(boxes[~there] * np.tile(size, 2)).float()
            for boxes, there in ((given, near.any(1)), (true, near.any(0)))
        )
        missing = lacking[(box_iou(lacking, wrong) < _TOUCHING).all(1)]
        nothing = torch.full((len(missing),), -1)
        return Errors(
            torch.cat([torch.from_numpy(classes[~near.any(1)]), nothing]), torch.cat([wrong, missing])
        )

    def _boxed(self, position: int, pixels: UInt8[np.ndarray, "h w 3"]) -> Boxed:
        height, width = pixels.shape[:2]
        corners, classes = self.lists.at(position)
        boxes = corners * np.tile([width, height], 2) if self.lists.relative else corners
        inside = np.clip(boxes, 0, np.tile([width, height], 2))
        empty = ~((inside[:, 2:] - inside[:, :2]) >= _LEAST).all(1)
        if empty.any():
            which = int(empty.argmax())
            raise Unreadable(f"box {which} {_what_is_wrong(boxes[which], width, height)}")
        return Boxed(
            torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
            torch.from_numpy(inside.astype(np.float32)),
            torch.from_numpy(classes.copy()),
        )


class BoxedReader(PicturesWithBoxes):
    """Reads pictures with their boxes from files.

    Args:
        files: Where the pictures are.
        names: The file of each sample.
        lists: The boxes of each sample.
        sizes: Width and height of each picture as the annotations have them, 0 where they do not.
        truth: The true boxes of each sample, where they are known.
        limits: Of the size of each picture.
        notes: What was found beside the samples.
        lost: ``{position: reason}`` of samples that cannot be used.
    """

    def __init__(
        self,
        files: Files,
        names: pa.StringArray,
        lists: BoxLists,
        sizes: Int64[np.ndarray, "n 2"],
        *,
        truth: BoxLists | None = None,
        limits: Limits = USUAL,
        notes: Sequence[str] = (),
        lost: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(lists, truth)
        self.files = files
        self.names = names
        self.sizes = sizes
        self.limits = limits
        self._notes = tuple(notes)
        self._lost = dict(lost or {})

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found beside the samples."""
        return self._notes

    def pictures(self, positions: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"] | Unreadable]:
        """Each picture, or why it cannot be used."""
        for position, content in zip(positions, self._fetch(positions), strict=True):
            try:
                yield self._pixels(position, content)
            except Unreadable as reason:
                yield reason

    def lengths(self, positions: Int64[Tensor, " m"]) -> Int64[Tensor, " m"] | None:
        """The number of pixels; None where the annotations do not have it."""
        pixels = torch.from_numpy(self.sizes).prod(1)
        return pixels[positions] if (pixels > 0).all() else None

    def preview(self, position: int) -> Preview:
        """The picture, made small, without boxes."""
        (content,) = self._fetch([position])
        with opened(content, self.limits) as picture:
            return thumbnail(picture)

    def file(self, position: int) -> Path | bytes | None:
        """The path of the picture, or its bytes where it has none."""
        path = self.files.path(self.names[position].as_py())
        if path is not None:
            return path
        (content,) = self._fetch([position])
        if isinstance(content, Unreadable):
            raise content
        return content

    def _fetch(self, positions: Sequence[int]) -> Iterator[bytes | Unreadable]:
        return self.files.fetch(self.names.take(pa.array(positions, pa.int64())).to_pylist())

    def _pixels(self, position: int, content: bytes | Unreadable) -> UInt8[np.ndarray, "h w 3"]:
        if position in self._lost:
            raise Unreadable(self._lost[position])
        with opened(content, self.limits) as picture, decoding():
            pixels = Transform().pixels(picture)
        height, width = pixels.shape[:2]
        stated = tuple(self.sizes[position].tolist())
        if stated != (width, height) and min(stated) > 0:
            raise Unreadable(
                f"the picture has {width} x {height} pixels, by its annotations {stated[0]} x {stated[1]}"
            )
        return pixels


def _what_is_wrong(box: np.ndarray, width: int, height: int) -> str:
    corners = ", ".join(f"{value:g}" for value in box)
    if not np.isfinite(box).all() or (box[2:] - box[:2] < _LEAST).any():
        return f"has no area ({corners})"
    return f"lies outside the picture ({corners}; {width} x {height} pixels)"


def drawn(
    picture: UInt8[Tensor, "3 h w"],
    panels: Sequence[tuple[Float[Tensor, "m 4"], Int64[Tensor, " m"]]],
    classes: Sequence[str],
) -> Preview:
    """A picture once for each set of boxes, side by side, with the names of their classes.

    Args:
        picture: Of any size.
        panels: Corners in pixels, and classes.
        classes: The class names.
    """
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    scale = _PANEL / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    whole = Image.new("RGB", (len(panels) * size[0] + _GAP * (len(panels) - 1), size[1]), "white")
    for number, (boxes, kinds) in enumerate(panels):
        panel = image.resize(size, Image.Resampling.BILINEAR)
        pen = ImageDraw.Draw(panel)
        for box, kind in zip((boxes * scale).tolist(), kinds.tolist(), strict=True):
            colour = f"hsv({round(360 * 0.618034 * kind) % 360}, 90%, 100%)"
            pen.rectangle(tuple(box), outline=colour, width=2)
            pen.text(
                (box[0] + 3, box[1] + 2), classes[kind], fill=colour, stroke_width=1, stroke_fill="black"
            )
        whole.paste(panel, (number * (size[0] + _GAP), 0))
    buffer = io.BytesIO()
    whole.save(buffer, format="PNG")
    return Preview("image", buffer.getvalue())


def box_targets(lists: BoxLists, classes: Sequence[str], truth: BoxLists | None = None) -> Targets:
    """The number of boxes of each class in each picture."""
    k = len(classes)
    return Targets(
        lists.counts(k),
        tuple(classes),
        None if truth is None else truth.counts(k),
        None if truth is None else lists.differs(truth),
    )
