"""Masks: pictures that hold the class of each pixel of another picture.

In: the files of pictures and masks. Out: a reader of pictures with their masks, and the classes that occur in
each mask. Pixels without a class have the value ``IGNORED``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int64
from PIL import Image
from torch import Tensor

from ogacli.base.limits import USUAL, Limits
from ogacli.data.files import Files
from ogacli.data.images import ImageReader, Pixels, Transform, decoding, opened
from ogacli.data.images.connected import SMALLEST, boxes_of_groups, connected, of_groups
from ogacli.data.images.overlay import overlaid
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.reading import Errors, Preview
from ogacli.data.unreadable import Unreadable


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask, as the network's output is compared with it."""

    pixels: Int64[np.ndarray, "h w"]
    """Class indices, or ``IGNORED``."""
    size: tuple[int, int]
    """Width and height before the transform."""


class MaskFiles:
    """Mask files of grey values, or with a palette, that are class indices.

    Args:
        files: Where they are.
        names: The mask of each sample.
        transform: Of the pictures; masks are resized without mixing pixels, and cropped.
        classes: The number of classes.
        ignore_index: The value of pixels without a class.
        limits: Of the size of each picture.
    """

    def __init__(
        self,
        files: Files,
        names: pa.StringArray,
        transform: Transform,
        *,
        classes: int,
        ignore_index: int | None = None,
        limits: Limits = USUAL,
    ) -> None:
        self.files = files
        self.names = names
        self.transform = transform
        self.classes = classes
        self.ignore_index = ignore_index
        self.limits = limits

    def decode(self, positions: Sequence[int]) -> Iterator[Mask | Unreadable]:
        """Each mask, or the reason why it cannot be used."""
        names = self.names.take(pa.array(positions, pa.int64())).to_pylist()
        for content in self.files.fetch(names):
            try:
                with opened(content, self.limits) as image:
                    with decoding():
                        image.load()
                    found: Mask | Unreadable = self._of(image)
            except Unreadable as reason:
                found = Unreadable(f"mask: {reason}")
            yield found

    def _of(self, image: Image.Image) -> Mask:
        if len(image.getbands()) > 1 or image.mode == "F":
            raise Unreadable(f"colours ({image.mode}); expected class indices as grey values or a palette")
        values = np.asarray(image).astype(np.int64)
        unlabelled = np.zeros_like(values, bool) if self.ignore_index is None else values == self.ignore_index
        highest = int(values[~unlabelled].max(initial=-1))
        if highest >= self.classes:
            ignored = "" if self.ignore_index is None else f" or {self.ignore_index}"
            raise Unreadable(f"a pixel of class {highest}; expected 0 to {self.classes - 1}{ignored}")
        raised = Image.fromarray(np.where(unlabelled, 0, values + 1).astype(np.int32))
        moved = np.asarray(self.transform.moved(raised, Image.Resampling.NEAREST)).astype(np.int64) - 1
        if not (moved >= 0).any():
            raise Unreadable("no pixel has a class")
        return Mask(np.where(moved < 0, IGNORED, moved), image.size)


class MaskedImageReader(ImageReader):
    """Reads pictures, and their masks as labels.

    Args:
        files: Where the pictures are.
        names: The picture of each sample.
        masks: The mask of each sample.
        truth: The true masks, where they are known.
        notes: What was found beside the samples.
    """

    def __init__(
        self,
        files: Files,
        names: pa.StringArray,
        masks: MaskFiles,
        truth: MaskFiles | None = None,
        *,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(files, names, masks.transform, limits=masks.limits, notes=notes)
        self.masks = masks
        self.truth = truth

    def with_labels(
        self, positions: Sequence[int]
    ) -> tuple[Float[Tensor, "b c h w"] | None, Int64[Tensor, "b h w"] | None, Mapping[int, str]]:
        """The pictures and masks that can be decoded and are of one size, and the reason for the others."""
        pictures, masks = list[Pixels](), list[Int64[np.ndarray, "h w"]]()
        failures: dict[int, str] = {}
        both = zip(self.fetch(positions), self.masks.decode(positions), strict=True)
        for i, (position, (content, mask)) in enumerate(zip(positions, both, strict=True)):
            try:
                if isinstance(mask, Unreadable):
                    raise mask
                with opened(content, self.limits) as image, decoding():
                    size, pixels = image.size, self.transform.pixels(image)
                self._sizes[position] = torch.tensor(size)
                if size != mask.size:
                    raise Unreadable(f"mask: {_size(mask.size)} pixels, the picture {_size(size)}")
                if reason := self.misfit(pixels):
                    raise Unreadable(reason)
            except Unreadable as problem:
                failures[i] = str(problem)
            else:
                pictures.append(pixels)
                masks.append(mask.pixels)
        if not pictures:
            return None, None, failures
        return self.transform.tensor(np.stack(pictures)), torch.from_numpy(np.stack(masks)), failures

    def preview(self, position: int) -> Preview:
        """The picture, made small, in the colours of its mask.

        Raises:
            Unreadable: The picture cannot be read.
        """
        with opened(next(self.fetch([position])), self.limits) as image, decoding():
            picture = image.convert("RGB")
        mask = next(self.masks.decode([position]))
        return overlaid(picture, [] if isinstance(mask, Unreadable) else [mask.pixels])

    def errors(self, position: int) -> Errors:
        """The connected pixels of one given class that have another class in the true mask."""
        if self.truth is None:
            return super().errors(position)
        given, true = (next(one.decode([position])) for one in (self.masks, self.truth))
        if isinstance(given, Unreadable) or isinstance(true, Unreadable):
            return super().errors(position)
        return wrong_regions(given.pixels, true.pixels)


def wrong_regions(given: Int64[np.ndarray, "h w"], true: Int64[np.ndarray, "h w"]) -> Errors:
    """The connected pixels of one given class whose true class is another; without those of a few pixels."""
    wrong = differing(given, true)
    count, group = connected(wrong[None], given[None])
    down, across = wrong.nonzero()
    large = np.bincount(group, minlength=count) >= SMALLEST
    classes, boxes = of_groups(group, given[wrong]), boxes_of_groups(group, count, across, down)
    return Errors(torch.from_numpy(classes[large]), torch.from_numpy(boxes[large]).float())


@dataclass(frozen=True, slots=True)
class Occurring:
    """What the masks of all samples hold."""

    classes: Float[Tensor, "n k"]
    """1 for each class that occurs; zeros for a mask that cannot be used."""
    differs: Bool[Tensor, " n"] | None
    """Which masks differ from the true one in a pixel that has a class in both; None without true masks."""
    true: Float[Tensor, "n k"] | None
    """As ``classes``, of the true masks."""
    unusable: Mapping[int, str]
    """The masks that cannot be used, each with the reason."""


def occurring(masks: MaskFiles, truth: MaskFiles | None = None) -> Occurring:
    """Read all masks once; a true mask that cannot be used counts as equal."""
    n = len(masks.names)
    classes, unusable = torch.zeros(n, masks.classes), dict[int, str]()
    true = None if truth is None else torch.zeros(n, masks.classes)
    differs = None if truth is None else torch.zeros(n, dtype=torch.bool)
    others = iter(()) if truth is None else truth.decode(range(n))
    for row, found in enumerate(masks.decode(range(n))):
        right = next(others, None)
        if isinstance(found, Unreadable):
            unusable[row] = str(found)
            continue
        mark(classes[row], found.pixels)
        if isinstance(right, Mask) and true is not None and differs is not None:
            mark(true[row], right.pixels)
            if right.size != found.size:
                unusable[row] = f"true mask: {_size(right.size)} pixels, the mask {_size(found.size)}"
                continue
            differs[row] = bool(differing(found.pixels, right.pixels).any())
    return Occurring(classes, differs, true, unusable)


def mark(row: Float[Tensor, " k"], pixels: Int64[np.ndarray, "h w"]) -> None:
    """Put 1 for each class that occurs in a mask."""
    row[torch.from_numpy(np.unique(pixels[pixels >= 0]))] = 1


def differing(given: Int64[np.ndarray, "h w"], true: Int64[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels that have a class in both masks, and not the same one."""
    found: Bool[np.ndarray, "h w"] = (given != true) & (given >= 0) & (true >= 0)
    return found


def _size(size: tuple[int, int]) -> str:
    """As in the reasons of pictures: height x width."""
    return f"{size[1]} x {size[0]}"
