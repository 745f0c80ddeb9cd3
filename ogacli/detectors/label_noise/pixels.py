"""Label noise of pixels, and connected regions of pixels that are probably wrong.

In: logits and given classes of pixels. Out: ``PixelNoise``, which gives the probability of each class to be
the true one of a pixel; and ``Regions``, the connected pixels of one given class that are more probably wrong
than right.

The model of noise is that of :mod:`ogacli.detectors.label_noise.model`: a temperature, class biases and a
transition matrix, fitted by EM. Pixels of an object are wrong together, but the probability that one of them
is wrong does not depend on that, so that their mean is the probability of the region.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields
from ogacli.detectors.label_noise.candidates import Candidates, log_probabilities
from ogacli.detectors.label_noise.model import LabelNoise

_EDGE, _EDGE_OF_SCORE = 1 / 3, 1 / 12
"""Doubtful pixels that are right in every region, in sides of the picture: networks and annotators place an
edge a little differently. For the probability of a region, and for the score of a mask; both were chosen on
seed 0 of `benchmarks/masks.py`. An edge grows with the side of a picture, not with its pixels."""


@dataclass(frozen=True, slots=True)
class PixelNoise(TensorFields):
    """The fitted parameters; float64."""

    sharpness: Float[Tensor, ""]
    """Inverse temperature of the predictions."""
    bias: Float[Tensor, " k"]
    """Of each class, added to the scaled log-probabilities."""
    logs: Float[Tensor, "k k"]
    """Logarithm of the probability of each given class (column) where the true one is known (row)."""

    @classmethod
    def fitted(cls, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]) -> "PixelNoise":
        """Fit by EM; O(n k) an iteration.

        Args:
            logits: Of pixels, best by a model that was not trained on their classes.
            given: Their classes.
        """
        noise, k = LabelNoise.fitted_to(Candidates.of(logits, given)), logits.shape[1]
        every = torch.arange(k, device=given.device)
        logs = noise.transition.logs_of(every, logits.new_zeros(k, k, dtype=torch.float64)).t()
        sharpness = torch.tensor(noise.sharpness, dtype=torch.float64, device=given.device)
        return cls(sharpness, noise.weights, logs.contiguous())

    def true(self, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """The probability of each class to be the true one of each pixel, float64."""
        return (self.sharpness * log_probabilities(logits) + self.bias + self.logs.t()[given]).softmax(1)


@dataclass(frozen=True, slots=True)
class Regions:
    """Connected doubtful pixels, a row a region."""

    sample: Int64[np.ndarray, " r"]
    """The index of its mask in the batch."""
    given: Int64[np.ndarray, " r"]
    suggested: Int64[np.ndarray, " r"]
    """The most probable class of most of its pixels."""
    wrong: Float[np.ndarray, " r"]
    """The probability that its given class is wrong."""
    score: Float[np.ndarray, " r"]
    """The same with less regard to edges, which ranks masks better."""
    box: Int64[np.ndarray, "r 4"]
    """Its first and last column and row, as left, top, right, bottom; the last ones are beyond it."""
    pixels: Int64[np.ndarray, " r"]

    @classmethod
    def of(
        cls,
        wrong: Float[np.ndarray, "b h w"],
        given: Int64[np.ndarray, "b h w"],
        suggested: Int64[np.ndarray, "b h w"],
    ) -> "Regions":
        """The regions of some masks, in no order.

        The probability of a region is the mean over its pixels, and over some more that are right.

        Args:
            wrong: The probability that the class of each pixel is wrong; 0 where it has none.
            given: Its class.
            suggested: Its most probable class.
        """
        doubtful = wrong > 0.5
        place = doubtful.nonzero()
        count, region = _connected(doubtful, given)

        def total(values: Float[np.ndarray, " m"] | None = None) -> Float[np.ndarray, " r"]:
            return np.bincount(region, values, minlength=count).astype(float)

        doubt, side = total(wrong[place]), sum(wrong.shape[1:]) / 2
        first = np.unique(region, return_index=True)[1]
        ends = [np.zeros(count, np.int64) for _ in range(4)]
        for low, high, axis in ((ends[0], ends[2], 2), (ends[1], ends[3], 1)):
            low[:] = doubtful.shape[axis]
            np.minimum.at(low, region, place[axis])
            np.maximum.at(high, region, place[axis] + 1)
        return cls(
            sample=place[0][first],
            given=given[place][first],
            suggested=_most(region, suggested[place], count),
            wrong=doubt / (total() + _EDGE * side),
            score=doubt / (total() + _EDGE_OF_SCORE * side),
            box=np.stack(ends, 1),
            pixels=total().astype(np.int64),
        )


def _connected(
    doubtful: Bool[np.ndarray, "b h w"], given: Int64[np.ndarray, "b h w"]
) -> tuple[int, Int64[np.ndarray, " m"]]:
    """The number of regions, and the region of each of m doubtful pixels."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    m = int(doubtful.sum())
    number = np.zeros(doubtful.shape, np.int64)
    number[doubtful] = np.arange(m)
    pairs = []
    for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
        joined = doubtful[here] & doubtful[there] & (given[here] == given[there])
        pairs.append(np.stack([number[here][joined], number[there][joined]]))
    one, other = np.concatenate(pairs, 1)
    count, region = connected_components(coo_array((np.ones(len(one)), (one, other)), (m, m)), directed=False)
    return int(count), region.astype(np.int64)


def _most(
    region: Int64[np.ndarray, " m"], classes: Int64[np.ndarray, " m"], count: int
) -> Int64[np.ndarray, " r"]:
    """The most frequent class of each region."""
    both, often = np.unique(np.stack([region, classes]), axis=1, return_counts=True)
    order = np.lexsort((often, both[0]))
    found = np.zeros(count, np.int64)
    found[both[0][order]] = both[1][order]  # the last one of each region stays
    return found
