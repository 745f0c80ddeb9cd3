"""Masks and boxes of a dataset in memory, which are read with the pictures.

In: the labels of a dataset, masks [n, h, w] or mappings with ``boxes`` and ``labels``, and the pictures. Out:
targets, and a reader of both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from PIL import Image
from torch import Tensor

from ogacli.data.arrays import channel_axis, channels_last
from ogacli.data.images.box_lists import BoxLists
from ogacli.data.images.boxes import PicturesWithBoxes, box_targets, drawn
from ogacli.data.images.masks import differing, mark, wrong_regions
from ogacli.data.labels import Targets
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.reading import Errors, Inputs, Preview, Reader
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

Masks = Shaped[np.ndarray, "n h w"]
_BOXES = "mappings with `boxes` [m, 4] (left, top, right, bottom in pixels) and `labels` [m] from 1"


class MasksInMemory(Reader):
    """Reads pictures, and their masks as labels.

    Args:
        pictures: Reads the pictures.
        masks: Class indices, or ``IGNORED``.
        truth: The true masks, where they are known.
    """

    def __init__(self, pictures: Reader, masks: Masks, truth: Masks | None = None) -> None:
        self.pictures = pictures
        self.masks = masks
        self.truth = truth
        self.in_memory = pictures.in_memory

    def read(self, positions: Sequence[int]) -> tuple[Inputs | None, Mapping[int, str]]:
        """The pictures."""
        return self.pictures.read(positions)

    def with_labels(
        self, positions: Sequence[int]
    ) -> tuple[Inputs | None, Int64[Tensor, "b h w"] | None, Mapping[int, str]]:
        """The pictures that can be read, and their masks."""
        inputs, failures = self.read(positions)
        here = [position for i, position in enumerate(positions) if i not in failures]
        masks = torch.from_numpy(self.masks[here].astype(np.int64)) if here else None
        return inputs, masks, failures

    def preview(self, position: int) -> Preview:
        """The picture.

        Raises:
            Unreadable: It cannot be read.
        """
        return self.pictures.preview(position)

    def errors(self, position: int) -> Errors:
        """The connected pixels of one given class that have another class in the true mask."""
        if self.truth is None:
            return super().errors(position)
        return wrong_regions(*(one[position].astype(np.int64) for one in (self.masks, self.truth)))


def mask_targets(masks: Masks, classes: Sequence[str], truth: Masks | None = None) -> Targets:
    """Which classes occur in each mask.

    Args:
        masks: A class a pixel, or ``IGNORED``.
        classes: Their names.
        truth: The true masks.

    Raises:
        DataError: They are of another form, or a pixel has no class of these.
    """
    if not classes:
        raise DataError("masks need the names of their classes", expected="`classes=[..]`, or their number")
    found = Targets(_occurring(masks, "labels", len(classes)), tuple(classes))
    if truth is None:
        return found
    if truth.shape != masks.shape:
        shapes = [str(list(one.shape)) for one in (truth, masks)]
        raise DataError("the truth has another shape than the masks", found=shapes[0], expected=shapes[1])
    true = _occurring(truth, "truth", len(classes))
    differs = torch.tensor([bool(differing(*both).any()) for both in zip(masks, truth, strict=True)])
    return replace(found, truth=true, differs=differs)


def _occurring(masks: Masks, noun: str, k: int) -> Float[Tensor, "n k"]:
    if masks.dtype.kind not in "iu":
        raise DataError(f"the {noun} are no class indices", found=masks.dtype, expected="whole numbers")
    found = torch.zeros(len(masks), k)
    for number, mask in enumerate(masks):
        pixels = mask.astype(np.int64)
        bad = pixels[((pixels < 0) | (pixels >= k)) & (pixels != IGNORED)]
        if len(bad):
            raise DataError(
                f"{noun} out of range",
                place=f"mask {number}",
                found=f"a pixel of class {bad[0]}",
                expected=f"0 to {k - 1} ({k} classes), or {IGNORED} where there is none",
            )
        mark(found[number], pixels)
    return found


class BoxesInMemory(PicturesWithBoxes):
    """Reads the pictures of a dataset with their boxes.

    Args:
        dataset: Its items are pictures, or begin with one: PIL images, or arrays and tensors of ``uint8`` or
            of floats from 0 to 1, channels first or last.
        classes: The class names.
        lists: The boxes.
        truth: The true boxes, where they are known.
    """

    def __init__(
        self, dataset: Any, classes: Sequence[str], lists: BoxLists, truth: BoxLists | None = None
    ) -> None:
        super().__init__(lists, truth)
        self.dataset = dataset
        self.classes = tuple(classes)

    def pictures(self, positions: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"] | Unreadable]:
        """Each picture, or why it cannot be used."""
        for position in positions:
            try:
                item = self.dataset[position]
                yield _pixels(item[0] if isinstance(item, tuple | list) else item)
            except Exception as error:  # the user's code may raise anything
                yield (
                    error if isinstance(error, Unreadable) else Unreadable(f"{type(error).__name__}: {error}")
                )

    def preview(self, position: int) -> Preview:
        """The picture with its boxes.

        Raises:
            Unreadable: It cannot be read.
        """
        found, failures = self.read([position])
        if found is None:
            raise Unreadable(failures[0])
        ((picture, boxes, kinds),) = found
        return drawn(picture, [(boxes, kinds)], self.classes)


def _pixels(picture: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Any kind of picture as bytes, channels last.

    Raises:
        Unreadable: It is none.
    """
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    found = picture.numpy() if isinstance(picture, Tensor) else np.asarray(picture)
    if channel_axis(found.shape) is None or found.dtype.kind not in "uf":
        raise Unreadable(f"{found.dtype} {list(found.shape)}; expected a picture of bytes, or of 0 to 1")
    if found.dtype.kind == "f":
        if not (found.min() >= 0 and found.max() <= 1):
            raise Unreadable(f"pixels from {found.min():g} to {found.max():g}; expected 0 to 1, or bytes")
        found = (found * 255).round()
    found = channels_last(found.astype(np.uint8))
    return np.repeat(found, 3, 2) if found.shape[2] == 1 else found[..., :3]


def are_boxes(labels: Shaped[np.ndarray, " n"]) -> bool:
    """Whether labels are mappings with boxes, as torchvision's detectors take them."""
    return labels.dtype == object and labels.ndim == 1 and len(labels) > 0 and isinstance(labels[0], Mapping)


def box_lists(labels: Sequence[Mapping[str, Any]], noun: str, k: int | None) -> BoxLists:
    """The boxes of all pictures; label i is class i - 1, as label 0 is the background.

    Args:
        labels: A mapping a picture.
        noun: The name of the argument in messages.
        k: The number of classes, where it is known.

    Raises:
        DataError: One is of another form.
    """
    owners, corners, kinds = list[int](), list[list[float]](), list[int]()
    for row, one in enumerate(labels):
        try:
            boxes = np.asarray(one["boxes"], dtype=np.float64).reshape(-1, 4)
            classes = np.asarray(one["labels"]).reshape(-1)
        except (KeyError, TypeError, ValueError) as error:
            found = f"{type(error).__name__}: {error}"
            raise DataError("not boxes", place=f"{noun} {row}", found=found, expected=_BOXES) from None
        if len(boxes) != len(classes) or (len(classes) and classes.dtype.kind not in "iu"):
            found = f"{len(boxes)} boxes, {len(classes)} labels of {classes.dtype}"
            raise DataError("not boxes", place=f"{noun} {row}", found=found, expected=_BOXES)
        for kind in classes.tolist():
            if kind < 1 or (k is not None and kind > k):
                expected = "from 1" if k is None else f"1 to {k} ({k} classes)"
                raise DataError(
                    "the label of a box is no class",
                    place=f"{noun} {row}",
                    found=kind,
                    expected=f"{expected}, as label 0 is the background",
                )
        owners += [row] * len(boxes)
        corners += boxes.tolist()
        kinds += (classes.astype(np.int64) - 1).tolist()
    return BoxLists.of(owners, corners, kinds, len(labels))


def boxes_of(
    dataset: Any, labels: Sequence[Mapping[str, Any]], classes: Sequence[str] | None, truth: Any
) -> tuple[Targets, BoxesInMemory]:
    """The targets of boxes in memory, and a reader of the pictures with them.

    Raises:
        DataError: They are of another form.
    """
    k = None if classes is None else len(classes)
    lists = box_lists(labels, "labels", k)
    true = None if truth is None else box_lists(truth, "truth", k)
    if classes is None:
        most = max(int(one.classes.max(initial=-1)) for one in (lists, true or lists))
        classes = [str(i) for i in range(1, most + 2)]
    return box_targets(lists, classes, true), BoxesInMemory(dataset, classes, lists, true)
