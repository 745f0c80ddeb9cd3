"""Connected pixels of masks: the parts that label noise is fitted to, and the regions that are doubtful.

In: given classes, and logits. Out: ``parts_of``, given and predicted objects with their mean logits; and
``Regions``, the connected pixels of one given class that are more probably wrong than right.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.data.images.connected import SMALLEST, boxes_of_groups, connected, of_groups
from ogacli.detectors.label_noise.class_noise import ClassNoise

_EDGE = 1 / 3
"""Doubtful pixels that are right in every region, in sides of the picture: networks and annotators place an
edge a little differently. Chosen on seed 0 of `benchmarks/masks.py`. An edge grows with the side of a
picture, not with its pixels."""


def parts_of(
    logits: Float[np.ndarray, "b k h w"], given: Int64[np.ndarray, "b h w"], known: Bool[np.ndarray, "b h w"]
) -> tuple[Float[Tensor, "q k"], Int64[Tensor, " q"]]:
    """The mean logits, and the given class, of each part of some masks.

    A part is the connected pixels of one given class; or those of one predicted class, most of which lie in
    less than half of such a part of another class, as an object that was forgotten.

    Args:
        logits: Of each pixel.
        given: Its class.
        known: Which pixels have a class.
    """
    of_pixels = logits.transpose(0, 2, 3, 1)[known]
    predicted = logits.argmax(1)
    here, there = given[known], predicted[known]
    count, own = connected(known, given)
    found, other = connected(known, predicted)
    size, classes = np.bincount(own, minlength=count), of_groups(own, here)
    (part, owner), shared = np.unique(np.stack([other, own]), axis=1, return_counts=True)
    most = _last(part, np.lexsort((shared, part)))
    owner, shared, area = owner[most], shared[most], np.bincount(other, minlength=found)
    inside = (shared > area / 2) & (shared < size[owner] / 2) & (of_groups(other, there) != classes[owner])
    large, inside = size >= SMALLEST, inside & (area >= SMALLEST)
    means = [_means(own, count, of_pixels)[large], _means(other, found, of_pixels)[inside]]
    labels = np.concatenate([classes[large], classes[owner][inside]])
    return torch.from_numpy(np.concatenate(means)), torch.from_numpy(labels)


@dataclass(frozen=True, slots=True)
class Regions:
    """Connected doubtful pixels, a row a region."""

    sample: Int64[np.ndarray, " r"]
    """The index of its mask in the batch."""
    given: Int64[np.ndarray, " r"]
    suggested: Int64[np.ndarray, " r"]
    """Its most probable class but for the given one."""
    wrong: Float[np.ndarray, " r"]
    """The probability that its given class is wrong."""
    box: Int64[np.ndarray, "r 4"]
    """Its first and last column and row, as left, top, right, bottom; the last ones are beyond it."""
    pixels: Int64[np.ndarray, " r"]

    @classmethod
    def of(
        cls,
        doubtful: Bool[np.ndarray, "b h w"],
        given: Int64[np.ndarray, "b h w"],
        logits: Float[np.ndarray, "m k"],
        noise: ClassNoise,
    ) -> "Regions":
        """The regions of some masks, in no order.

        A region is judged by its mean logits, as one part; and by some more pixels that are right.

        Args:
            doubtful: Which pixels are more probably wrong than right.
            given: The class of each pixel.
            logits: Of the doubtful pixels.
            noise: Of parts.
        """
        place = doubtful.nonzero()
        count, region = connected(doubtful, given)
        pixels, side = np.bincount(region, minlength=count), sum(doubtful.shape[1:]) / 2
        sample, classes = of_groups(region, place[0]), of_groups(region, given[place])
        means = torch.from_numpy(_means(region, count, logits))
        wrong, suggested = (one.numpy() for one in noise.judged(means, torch.from_numpy(classes)))
        return cls(
            sample=sample,
            given=classes,
            suggested=suggested,
            wrong=wrong * pixels / (pixels + _EDGE * side),
            box=boxes_of_groups(region, count, place[2], place[1]),
            pixels=pixels,
        )


def _last(group: Int64[np.ndarray, " p"], order: Int64[np.ndarray, " p"]) -> Int64[np.ndarray, " g"]:
    """The place of the last one of each group in an order that sorts by group."""
    ends = np.append(np.flatnonzero(np.diff(group[order])), len(order) - 1)
    found: Int64[np.ndarray, " g"] = order[ends] if len(order) else order
    return found


def _means(
    group: Int64[np.ndarray, " m"], count: int, values: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, "g k"]:
    """The means of the rows of each group."""
    size = np.bincount(group, minlength=count)[:, None]
    return np.stack([np.bincount(group, column, minlength=count) for column in values.T], 1) / size
