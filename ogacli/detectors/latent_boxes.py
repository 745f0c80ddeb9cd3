"""The probability that a box of a picture is wrong, missing, under another class or badly placed.

Given boxes are matched with the objects that the network finds. Three models of label noise are fitted, to
the given boxes alone: whether there is an object, by the confidence of the network; which class it has, a
latent class; and whether the box is where the object is, a mixture of overlaps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.detectors import detectors
from ogacli.detectors._cells import CellDetector, CellOptions, Cells
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.label_noise.boxes import Match, PlaceNoise, Presence, matched
from ogacli.detectors.label_noise.class_noise import ClassNoise, noise_of_objects
from ogacli.errors import DataError, GradientError
from ogacli.gradients import GradientBatch

CELLS = 16
"""Boxes that are kept of a picture: those that are most probably wrong."""


@dataclass(frozen=True, slots=True)
class BoxCells(Cells):
    """The most doubtful boxes of each picture, given ones and missing ones; suggested are their classes.

    A suggested class of -1 means that there should be no box.
    """

    index: Int64[Tensor, "b m"]
    """The number of a given box in its picture; of missing ones the next numbers; -1 where there is none."""
    given: Int64[Tensor, "b m"]
    """The class of the box; -1 of a missing one."""
    boxes: Float[Tensor, "b m 8"]
    """The corners of the given box (of a missing one NaN), and of the one to put in its place."""


@dataclass(frozen=True, slots=True)
class BoxNoise:
    """The fitted models."""

    presence: Presence
    classes: ClassNoise | None
    """None with a single class, or where no box was matched."""
    place: PlaceNoise

    @classmethod
    def fitted(cls, pictures: Sequence[Match], *, held_out: bool) -> "BoxNoise":
        """Fit to the boxes of all pictures.

        Args:
            pictures: With their objects.
            held_out: Whether the network was not trained on these boxes.
        """
        overlap = torch.cat([one.overlap for one in pictures])
        found = overlap > 0
        confidence, free = (
            torch.cat([getattr(one, name) for one in pictures]) for name in ("confidence", "free_confidence")
        )
        scores, given = (
            torch.cat([getattr(one, name) for one in pictures])[found] for name in ("scores", "given")
        )
        classes = None
        if len(given) and scores.shape[1] > 1:
            classes = noise_of_objects(scores.log(), given, held_out=held_out)
        return cls(Presence.fitted(confidence, free), classes, PlaceNoise.fitted(overlap[found]))

    def judged(self, one: Match) -> tuple[Float[Tensor, "m 3"], Float[Tensor, " f"], Int64[Tensor, " m"]]:
        """The judgement on a picture.

        Returns:
            Of each given box the probabilities that there is no object, that it has another class, and that
            the box is badly placed; of each free object that it should have a box; and the most probable
            other class of each given box.
        """
        absent = self.presence.of_given(one.confidence)
        free = self.presence.of_free(one.free_confidence)
        found = one.overlap > 0
        other, classes = torch.zeros_like(absent), one.given
        if self.classes is not None and len(one.given):
            wrong, likely = self.classes.judged(one.scores.log(), one.given)
            other = torch.where(found, wrong, 0.0)
            classes = torch.where(found, likely, one.given)
        moved = torch.where(found, self.place.wrong(one.overlap), 0.0)
        return torch.stack([absent, (1 - absent) * other, (1 - absent) * moved], 1), free, classes


@detectors.register
class LatentBoxes(CellOptions):
    """For pictures with boxes: score = how probable it is that one of the boxes is wrong or missing.

    See :mod:`ogacli.detectors.latent_boxes`.
    """

    def detector(self) -> "BoxDetector":
        """A detector that is not fitted yet."""
        return BoxDetector(self)


class BoxDetector(CellDetector):
    """Judges every box; scores a picture by its most doubtful ones.

    Args:
        options: With the number of pictures to fit to.
    """

    def __init__(self, options: CellOptions) -> None:
        self.options = options
        self.noise: BoxNoise | None = None

    def fit_size(self, n: int) -> int:
        """All pictures, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit how boxes become wrong.

        Raises:
            DataError: There is no picture.
            GradientError: The samples are no pictures with boxes.
        """
        pictures = list[Match]()
        for batch in batches:
            pictures += self._matched(batch)
            del batch  # before the next one is computed
        if not pictures:
            raise DataError("no picture to fit the label noise to", expected="at least one that can be read")
        self.noise = BoxNoise.fitted(pictures, held_out=self.held_out)

    def cells(self, batch: GradientBatch) -> BoxCells:
        """The judgement on each box, once fitted; computed on the CPU, where the objects are."""
        found = judged(self._fitted(), self._matched(batch), [one.boxes for one in batch.objects or ()])
        return BoxCells(*(sent(getattr(found, one.name), batch.residual.device) for one in fields(found)))

    def state(self) -> dict[str, Tensor]:
        """The parameters."""
        noise = self._fitted()
        found = prefixed("presence.", noise.presence.state()) | prefixed("place.", noise.place.state())
        if noise.classes is not None:
            found |= prefixed("classes.", noise.classes.state())
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the parameters."""
        classes = under("classes.", state)
        self.noise = BoxNoise(
            Presence.of(under("presence.", state)),
            ClassNoise.of(classes) if classes else None,
            PlaceNoise.of(under("place.", state)),
        )

    def _fitted(self) -> BoxNoise:
        assert self.noise is not None, "fit or restore first"
        return self.noise

    def _matched(self, batch: GradientBatch) -> list[Match]:
        if batch.objects is None:
            raise GradientError(
                "takes pictures with boxes",
                place="detector.name latent_boxes",
                found=f"labels {list(batch.labels.shape)}",
                expected="`source: coco` or `yolo`, and `model: {source: detection}`",
            )
        return [matched(one, batch.labels.shape[1]) for one in batch.objects]


def judged(noise: BoxNoise, pictures: Sequence[Match], given: Sequence[Float[Tensor, "m 4"]]) -> BoxCells:
    """The judgement on pictures.

    Args:
        noise: Fitted to them.
        pictures: With their objects.
        given: The given boxes.
    """
    rows = [_row(noise, one, boxes) for one, boxes in zip(pictures, given, strict=True)]
    if not rows:
        none = torch.zeros(0, CELLS)
        return BoxCells(none, none, none, none.long(), none.long(), torch.zeros(0, CELLS, 8))
    wrong, suggested, *others = (torch.stack([row[i] for row in rows]) for i in range(5))
    return BoxCells(wrong, suggested, torch.zeros_like(wrong), *others)


def _row(noise: BoxNoise, one: Match, given: Float[Tensor, "m 4"]) -> tuple[Tensor, ...]:
    """The cells of one picture: the fields of ``BoxCells``."""
    how, free, classes = noise.judged(one)
    wrong = torch.cat([1 - (1 - how).prod(1), free])
    most = how.argmax(1) if len(how) else torch.zeros(0, dtype=torch.int64)
    nothing = torch.full((len(free),), -1)
    suggested = torch.where(most == 0, -1, torch.where(most == 1, classes, one.given))
    places = torch.where((most == 2)[:, None], one.boxes, given.float())
    unknown = torch.full((len(free), 4), torch.nan)
    boxes = torch.cat([torch.cat([given.float(), places], 1), torch.cat([unknown, one.free_boxes], 1)])
    kept = wrong.topk(min(CELLS, len(wrong))).indices
    room = CELLS - len(kept)
    return (
        F.pad(wrong[kept], (0, room), value=-1.0),
        F.pad(torch.cat([suggested, _first(one.free)])[kept], (0, room), value=-1).double(),
        F.pad(kept, (0, room), value=-1),
        F.pad(torch.cat([one.given, nothing])[kept], (0, room), value=-1),
        F.pad(boxes[kept], (0, 0, 0, room), value=torch.nan),
    )


def _first(scores: Float[Tensor, "f k"]) -> Int64[Tensor, " f"]:
    return scores.argmax(1) if len(scores) else torch.zeros(0, dtype=torch.int64)
