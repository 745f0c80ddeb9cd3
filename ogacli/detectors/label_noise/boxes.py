"""Given boxes beside those that a network finds: which are wrong, and how.

In: the given boxes of a picture, and the boxes found in it with their scores. Out: ``Match``, which given box
belongs to which object found; ``Presence``, the probability that a box is missing or contains no object; and
``PlaceNoise``, the probability that it is badly placed.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields
from ogacli.gradients.batch import Objects

LEAST = 0.01
"""The score of an object that is not found."""
_SAME = 0.5
"""Found boxes that overlap more are one object, whatever their classes."""
_TOUCHING = 0.1
"""A given box belongs to an object that it overlaps by at least so much."""
_COVERED = 0.5
"""An object without a box of which a larger part lies in a given box, or the other way round, is a part of
another object."""
_SUREST = 0.7
"""The highest probability that there is no object in a box, as networks overlook some for no reason."""
_KNOTS = 512
"""Values of the confidence that are kept."""
_STEPS = 100
_FEW = 0.02
"""The share of badly placed boxes before the first iteration."""
_MOST = 0.5


@dataclass(frozen=True, slots=True)
class Match:
    """The boxes of a picture, and the objects that are found there; overlap is intersection over union."""

    given: Int64[Tensor, " m"]
    """The class of each given box."""
    scores: Float[Tensor, "m k"]
    """The highest score that the object of a given box has under each class; 0.01 where it is not found."""
    overlap: Float[Tensor, " m"]
    """Between a given box and its object; 0 where none is found."""
    boxes: Float[Tensor, "m 4"]
    """Where the object is; the given box itself where none is found."""
    free: Float[Tensor, "f k"]
    """The scores of objects that no given box belongs to."""
    free_boxes: Float[Tensor, "f 4"]

    @property
    def confidence(self) -> Float[Tensor, " m"]:
        """The highest score of the object of each given box."""
        return self.scores.max(1).values

    @property
    def free_confidence(self) -> Float[Tensor, " f"]:
        """The highest score of each object without a box."""
        return self.free.max(1).values


def matched(picture: Objects, k: int) -> Match:
    """Match given boxes with objects, one to one, by overlap times score; O(m q) for q found boxes.

    Args:
        picture: The boxes.
        k: The number of classes.
    """
    from scipy.optimize import linear_sum_assignment
    from torchvision.ops import box_iou

    scores, places = _objects(picture, k)
    m = len(picture.boxes)
    overlap = box_iou(picture.boxes.float(), places) if m and len(places) else torch.zeros(m, len(places))
    value = torch.where(overlap >= _TOUCHING, overlap * scores.max(1).values, 0.0)
    rows, columns = (torch.from_numpy(one) for one in linear_sum_assignment(value.numpy(), maximize=True))
    real = value[rows, columns] > 0
    rows, columns = rows[real], columns[real]
    own, near = torch.full((m, k), LEAST), torch.zeros(m)
    own[rows], near[rows] = scores[columns], overlap[rows, columns]
    boxes = picture.boxes.float().clone()
    boxes[rows] = places[columns]
    left = torch.ones(len(places), dtype=torch.bool)
    left[columns] = False
    left &= _within(places, picture.boxes.float()) < _COVERED
    return Match(picture.classes, own.double(), near.double(), boxes, scores[left].double(), places[left])


def _within(places: Float[Tensor, "o 4"], boxes: Float[Tensor, "m 4"]) -> Float[Tensor, " o"]:
    """The largest part of each place that lies in a box, or of a box that lies in the place."""
    from torchvision.ops import box_area

    if not len(boxes):
        return torch.zeros(len(places))
    low, high = (
        choose(places[:, None, side], boxes[None, :, side])
        for choose, side in ((torch.maximum, slice(0, 2)), (torch.minimum, slice(2, 4)))
    )
    shared = (high - low).clamp_min(0).prod(2)
    smaller = torch.minimum(*(torch.broadcast_tensors(box_area(places)[:, None], box_area(boxes)[None])))
    found: Tensor = (shared / smaller.clamp_min(1e-9)).amax(1)
    return found


def _objects(picture: Objects, k: int) -> tuple[Float[Tensor, "o k"], Float[Tensor, "o 4"]]:
    """The objects found: the scores of each under each class, and where its surest box is."""
    from torchvision.ops import box_iou, nms

    boxes, scores = picture.found.float(), picture.scores.float()
    if not len(boxes):
        return torch.zeros(0, k), boxes
    first = nms(boxes, scores, _SAME)
    overlap = box_iou(boxes[first], boxes)
    overlap[torch.arange(len(first)), first] = 2.0  # itself
    owner = torch.where(overlap > _SAME, 1, 0).argmax(0)
    found = torch.full((len(first) * k,), LEAST)
    found.scatter_reduce_(0, owner * k + picture.found_classes, scores, "amax")
    return found.view(len(first), k), boxes[first]


@dataclass(frozen=True, slots=True)
class Presence(TensorFields):
    """Missing boxes and boxes without an object, by the confidence of the network; float64."""

    confidence: Float[Tensor, " k"]
    """Some values, ascending."""
    missing: Float[Tensor, " k"]
    """The probability that an object without a box should have one, from that confidence on."""
    absent: Float[Tensor, " k"]
    """The probability that there is no object in a given box, from that confidence on."""

    @classmethod
    def fitted(cls, given: Float[Tensor, " m"], free: Float[Tensor, " f"]) -> "Presence":
        """Fit to the confidence of objects; O(n log n).

        The share of objects that have a box rises with the confidence, by isotonic regression. The share that
        lacks one where the network is surest is the rate at which boxes are forgotten; where more lack one,
        the network errs. The log odds of the confidence in right boxes have a logistic distribution, fitted
        to the quartiles; boxes of low confidence beyond those that it expects contain no object.

        Args:
            given: Of the objects in given boxes; 0.01 where none is found.
            free: Of objects without a box.
        """
        from sklearn.isotonic import isotonic_regression

        given, free = given.double().sort().values, free.double()
        every = torch.cat([given, free]).sort()
        values = torch.unique(every.values)
        knots = values[torch.linspace(0, max(0, len(values) - 1), min(_KNOTS, len(values))).long()]
        if not len(values):
            return cls(given.new_tensor([LEAST]), given.new_zeros(1), given.new_zeros(1))
        boxed = (every.indices < len(given)).double()
        share = torch.from_numpy(isotonic_regression(boxed.numpy()))
        rate = _rate(boxed)
        there = (share / (1 - rate)).clamp(max=1.0)
        missing = (there * rate / (1 - share).clamp_min(1e-9)).clamp(max=1.0)
        at = torch.searchsorted(every.values, knots, right=True) - 1
        return cls(knots, missing.cummax(0).values[at], _absent(given, knots))

    def of_free(self, confidence: Float[Tensor, " f"]) -> Float[Tensor, " f"]:
        """The probability that objects without a box should have one."""
        return self._at(self.missing, confidence)

    def of_given(self, confidence: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        """The probability that there is no object in given boxes."""
        return self._at(self.absent, confidence)

    def _at(self, column: Float[Tensor, " k"], confidence: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        place = torch.searchsorted(self.confidence, confidence.double(), right=True) - 1
        return column[place.clamp(0, len(column) - 1)]


def _rate(boxed: Float[Tensor, " n"]) -> float:
    """The rate at which objects lack a box where the network is surest; 1 where there is a box.

    Args:
        boxed: By ascending confidence.
    """
    parts = [boxed[len(boxed) // 2 :], boxed[3 * len(boxed) // 4 :]]
    return min(float((1 - part).sum() + 0.5) / (len(part) + 1) for part in parts)


def _absent(given: Float[Tensor, " m"], knots: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The excess of boxes of low confidence, as a probability that falls with the confidence."""
    if len(given) < 4:
        return torch.zeros_like(knots)
    low, middle, high = given.logit().quantile(given.new_tensor([0.25, 0.5, 0.75]))
    scale = (torch.maximum(middle - low, high - middle) / math.log(3)).clamp_min(0.05)
    expected = len(given) * ((knots.logit() - middle) / scale).sigmoid()
    counted = torch.searchsorted(given, knots, right=True).double()
    excess = (1 - expected / counted.clamp_min(1.0)).clamp(0.0, _SUREST)
    excess = torch.where(counted > 0, excess, 0.0)
    return excess.flip(0).cummax(0).values.flip(0)


@dataclass(frozen=True, slots=True)
class PlaceNoise(TensorFields):
    """Badly placed boxes: a mixture of two distributions of the overlap with the object; float64.

    The overlap of a well placed box has a beta distribution, that of a badly placed one is uniform.
    """

    alpha: Float[Tensor, ""]
    beta: Float[Tensor, ""]
    share: Float[Tensor, ""]
    """Of badly placed boxes."""

    @classmethod
    def fitted(cls, overlap: Float[Tensor, " n"]) -> "PlaceNoise":
        """Fit by EM, the beta distribution by its moments.

        Args:
            overlap: Of given boxes with their objects, above 0.
        """
        u = overlap.double().clamp(1e-3, 1 - 1e-3)
        few = u.new_tensor(_FEW)
        if len(u) < 2:
            return cls(u.new_tensor(8.0), u.new_tensor(2.0), few)
        above = u[u >= u.median()]
        found = cls(
            *_beta(u, ((u - u.median()).abs() < 3 * (above - u.median()).mean() + 0.05).double()), few
        )
        for _ in range(_STEPS):
            right = 1 - found.wrong(u)
            share = ((1 - right).sum() + 0.5) / (len(u) + 1)
            last, found = found, cls(*_beta(u, right), share.clamp(max=_MOST))
            if abs(float(found.share - last.share)) < 1e-5:
                break
        return found

    def wrong(self, overlap: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The probability that a box with this overlap is badly placed; 0 above the mean of the others."""
        u = overlap.double().clamp(1e-3, 1 - 1e-3)
        beta = torch.distributions.Beta(self.alpha, self.beta)
        right = (1 - self.share) * beta.log_prob(u).exp()
        bad = self.share / (1 - _TOUCHING)
        return torch.where(u < beta.mean, bad / (bad + right), 0.0)


def _beta(u: Float[Tensor, " n"], weight: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """The parameters of the beta distribution with the weighted moments, of one with a single peak."""
    total = weight.sum().clamp_min(1e-9)
    mean = (weight * u).sum() / total
    variance = ((weight * (u - mean).square()).sum() / total).clamp_min(1e-4)
    size = (mean * (1 - mean) / variance - 1).clamp_min(2.5)
    return (mean * size).clamp_min(1.05), ((1 - mean) * size).clamp_min(1.05)
