"""What tells label noise from a model's own mistakes, and the label noise model that follows from it.

In: candidates of samples. Out: a fitted ``LabelNoise``, and the ``Signals`` it rests on, from which
``verdict.estimate`` tells the share of wrong labels. Constants were chosen on ``benchmarks/simulated.py``,
seed 0, and on digits, breast cancer, MNIST and CIFAR-10N of ``benchmarks/detection.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from ogacli.detectors.label_noise.disagreement import Disagreement
from ogacli.detectors.label_noise.model import TRUST, LabelNoise
from ogacli.detectors.label_noise.transition import LEAST

if TYPE_CHECKING:
    from ogacli.detectors.label_noise.candidates import Candidates

_STEEP = 3.0
"""By how much the lower bound rises with the share of the contradicted labels that the model has learned."""
_LEARNED = 0.3
"""From this share on the neighbours tell more about the labels than the model."""
_TORN = 0.7
"""Neighbours whose disagreements are near ties to this share tell nothing."""
_FLOOR = 8.0
"""Lower bound of the sharpness for a strong model that has learned how people err on these samples: its
probabilities explain wrong labels without any noise, and likelihood alone leaves the sharpness near 1."""
CALIBRATED = 1.3
"""Up to this inverse temperature a model is calibrated to the labels as it stands."""
_SHARP = 1.5
"""From this sharpness on the noise depends on the class, and the free fit stays."""
_DOUBTFUL, _DOUBTFUL_OF_TWO = 1.23, 2.5
"""Below this sharpness nothing shows noise that depends on the class alone; of two classes below the second.
Of calibrated models it is up to 1.26 where the noise depends on the sample. Strong models are compared with
``_SHARP``."""
_FEW = 0.2
"""Lapses below this part of the disagreement show no noise that the model has no doubts about."""
_MOSTLY = 0.4
"""From this part of the disagreement on the lapses are most of what is wrong."""
_CAUTION = 0.85
"""Lapses are this much lower at worst, as the curve that they are fitted with is only nearly right."""
_SOME = 0.05
"""Lapses below this part of the disagreement count as none."""


@dataclass(frozen=True, slots=True)
class Signals:
    """Of one checkpoint, or of all folds."""

    k: int
    own: Disagreement
    near: Disagreement | None
    """Of the neighbours; None without features."""
    sharpness: float
    """Of the free fit."""
    held_out: bool
    """Whether the model was not trained on these labels."""

    @property
    def learned(self) -> float:
        """The share of the labels contradicted by neighbours that the model has learned, from 0 to 1."""
        if self.near is None or self.held_out or self.own.inverse_temperature <= 1 or not self.near.share:
            return 0.0
        return max(0.0, 1 - self.own.share / self.near.share)

    @property
    def calibration(self) -> float:
        """By which the model's log-probabilities are multiplied where it is held out and too confident."""
        return min(1.0, self.own.inverse_temperature) if self.held_out else 1.0

    @property
    def neighbours_tell(self) -> bool:
        """Whether the neighbours of samples contradict labels firmly enough to be believed."""
        return self.near is not None and self.near.near_ties < _TORN

    @property
    def memorised(self) -> bool:
        """Whether the model has learned many of the labels that the neighbours contradict."""
        return self.learned >= _LEARNED

    @property
    def best(self) -> Disagreement:
        """Of the neighbours where these tell more; otherwise of the model."""
        if self.near is not None and self.memorised and self.neighbours_tell:
            return self.near
        return self.own

    @property
    def lapses(self) -> Disagreement:
        """Whose lapses count: those of the neighbours where the model was trained on the labels."""
        if self.near is not None and not self.held_out and self.neighbours_tell:
            return self.near
        return self.own

    @property
    def fewest(self) -> float:
        """A cautious share of wrong labels; 0 where it is small beside what the model errs itself."""
        if self.lapses is self.own and not self.held_out and self.own.inverse_temperature > CALIBRATED:
            return 0.0  # a network that is trained fast is sure of its mistakes, too
        low = _CAUTION * self.lapses.fewest
        return low if low >= _SOME * self.best.share else 0.0

    @property
    def part(self) -> float:
        """``fewest`` as a part of the disagreement."""
        return self.fewest / self.best.share if self.best.share else 0.0

    @property
    def class_conditional(self) -> bool:
        """Whether the fit shows noise that depends on the class alone."""
        return self.k > 2 and self.sharpness >= _SHARP and self.fewest > 0

    @property
    def doubtful(self) -> bool:
        """Whether wrong labels, if there are any, may follow the model's own doubts.

        That is where neither the sharpness nor lapses show others; of two classes, whose sharpness is known
        less well, where not both do. Only of held-out predictions: a model that was trained on the labels is
        sure of wrong ones, too.
        """
        few = self.part < _FEW
        if self.k == 2:
            return self.held_out and (few or (self.sharpness < _DOUBTFUL_OF_TWO and not self.flat))
        return self.held_out and few and self.sharpness < (_SHARP if self.flat else _DOUBTFUL)

    @property
    def flat(self) -> bool:
        """Whether a strong model has explained the wrong labels, so that its sharpness needs a floor.

        A network is sure on the samples that it was trained on, however weak it is, so that its neighbours
        must be sure as well; without neighbours it must be calibrated as it stands.
        """
        lapsed = self.class_conditional and self.part >= _MOSTLY
        if lapsed or not self.best.flat:
            return False
        if self.held_out:
            return True
        if self.near is None:
            return self.own.inverse_temperature <= CALIBRATED
        return self.near.flat

    @property
    def trust(self) -> tuple[float, float]:
        """Bounds of the weight of the neighbours."""
        least, most = TRUST
        if self.held_out:
            return 0.0, most
        if self.neighbours_tell:
            least = min(1.0, max(least, least + _STEEP * (self.learned - least)))
        return least, max(least, most)

    def numbers(self) -> list[float]:
        """As plain numbers, from which ``of_numbers`` makes the same."""
        both = [self.own] if self.near is None else [self.own, self.near]
        alone = [float(self.k), self.sharpness, float(self.held_out)]
        return [*alone, *(float(value) for one in both for value in astuple(one))]

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Signals:
        """From what ``numbers`` returned."""
        (k, sharpness, held_out), size = numbers[:3], len(fields(Disagreement))
        own, *near = (_disagreement(numbers[i : i + size]) for i in range(3, len(numbers), size))
        return cls(int(k), own, near[0] if near else None, sharpness, bool(held_out))


def _disagreement(numbers: Sequence[float]) -> Disagreement:
    samples, *rest = numbers
    return Disagreement(int(samples), *rest)


def fitted(seen: Candidates, *, held_out: bool, least_noise: float = LEAST) -> tuple[LabelNoise, Signals]:
    """Fit the label noise; once more with a floor under its sharpness where the signals ask for it.

    Args:
        seen: The samples.
        held_out: Whether the model was not trained on their labels.
        least_noise: Lower bound of the rate of wrong labels of each class.
    """
    own = Disagreement.of(seen.own, seen)
    near = None if seen.gap is None else Disagreement.of(seen.own + seen.gap, seen)
    before = Signals(seen.k, own, near, 0.0, held_out)
    seen = seen.scaled(before.calibration)
    noise = LabelNoise.fitted_to(seen, trust=before.trust, least_noise=least_noise)
    signals = Signals(seen.k, own, near, noise.sharpness, held_out)
    if signals.flat and noise.sharpness < _FLOOR:
        noise = LabelNoise.fitted_to(
            seen, trust=signals.trust, least_sharpness=_FLOOR, least_noise=least_noise
        )
    return noise, signals
