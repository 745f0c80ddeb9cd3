"""What tells label noise from a model's own mistakes, and the label noise model that follows from it.

In: candidates of samples. Out: a fitted ``LabelNoise``, and the ``Signals`` it rests on, from which
``verdict.estimate`` tells the share of wrong labels. Constants were chosen on ``benchmarks/simulated.py``,
seed 0, and on digits, breast cancer, MNIST and CIFAR-10N of ``benchmarks/detection.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING

from ogacli.detectors.label_noise.disagreement import Disagreement
from ogacli.detectors.label_noise.model import TRUST, LabelNoise
from ogacli.detectors.label_noise.transition import FREE, LEAST

if TYPE_CHECKING:
    from ogacli.detectors.label_noise.candidates import Candidates

_STEEP = 3.0
"""By how much the lower bound rises with the share of the contradicted labels that the model has learned."""
_LEARNED = 0.3
"""From this share on the neighbours tell more about the labels than the model."""
_ECHO = 1.05
"""Neighbours that contradict less than this multiple of the labels that the model contradicts repeat what it
says: of MiniLM fine-tuned with LoRA .95 to 1.01; of perceptrons on fixed features 1.07 or more."""
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
Strong models are compared with ``_SHARP``."""
_GAIN = 3.0
"""A larger gain in log-likelihood shows noise that depends on the class, a larger loss that there is none."""
_UNEVEN = 20.0
"""Of two classes one has more wrong labels than the other where that gains as much: with less, a weak model
of a rare class looks the same, and the ranking would turn round."""
_HALF = 0.45
"""A class of which nearly half of the labels are wrong, or more, is rather one that the model cannot see."""
_ENOUGH = 5_000
"""By so many samples, evenly chosen, or up to twice as many."""
_FEW = 0.2
"""Lapses below this part of the disagreement show no noise that the model has no doubts about."""
_MOSTLY = 0.4
"""From this part of the disagreement on the lapses are most of what is wrong."""
_CAUTION = 0.85
"""Lapses are this much lower at worst, as the curve that they are fitted with is only nearly right."""
_SOME = 0.05
"""Lapses below this part of the disagreement count as none."""
_ALONE = 4
"""Numbers of ``Signals`` beside those of each ``Disagreement``."""


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
    gain: float = 0.0
    """By which noise that depends on the class explains the labels better than none: log-likelihood. Of
    held-out predictions only, and where all classes are candidates; elsewhere 0."""

    @property
    def learned(self) -> float:
        """The share of the labels contradicted by neighbours that the model has learned, from 0 to 1."""
        if self.near is None or self.held_out or self.own.inverse_temperature <= 1 or not self.near.share:
            return 0.0
        return max(0.0, 1 - self.own.share / self.near.share)

    @property
    def echoed(self) -> bool:
        """Whether the neighbours contradict hardly more labels than the model, which was trained on these.

        Fine-tuned features lie by the given labels. What the model has missed of a class is noise then.
        """
        return not self.held_out and self.near is not None and self.near.share < _ECHO * self.own.share

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

        That is where lapses show no others, and noise by class explains the labels worse than calibrated
        predictions do; where about as well, the sharpness tells. Lapses of two classes count only with it. A
        strong model has explained the noise before, so that nothing is gained. Only of held-out predictions:
        a model that was trained on the labels is sure of wrong ones, too.
        """
        few, two = self.part < _FEW, self.k == 2
        if self.flat:
            found = few and (two or self.sharpness < _SHARP)
        elif two:
            found = self.gain < _GAIN and (few or self.sharpness < _DOUBTFUL_OF_TWO)
        else:
            found = few and self.gain < (_GAIN if self.sharpness < _DOUBTFUL else -_GAIN)
        return self.held_out and found

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
        alone = [float(self.k), self.sharpness, float(self.held_out), self.gain]
        return [*alone, *(float(value) for one in both for value in astuple(one))]

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Signals:
        """From what ``numbers`` returned."""
        (k, sharpness, held_out, gain), size = numbers[:_ALONE], len(fields(Disagreement))
        own, *near = (_disagreement(numbers[i : i + size]) for i in range(_ALONE, len(numbers), size))
        return cls(int(k), own, near[0] if near else None, sharpness, bool(held_out), gain)


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
    fit = partial(LabelNoise.fitted_to, trust=before.trust)
    if seen.k == 2:
        fit = partial(fit, biased=not before.echoed)
        fit = partial(fit, even=not _uneven(fit, seen))
    noise = fit(seen, least_noise=least_noise)
    signals = replace(before, sharpness=noise.sharpness)
    if held_out and seen.classes is None:
        free = fit(seen, least_noise=FREE, start=noise).log_likelihood(seen)
        none = LabelNoise.without_noise(seen, noise.trust).log_likelihood(seen)
        signals = replace(signals, gain=free - none)
    if signals.flat and noise.sharpness < _FLOOR:
        noise = fit(seen, least_sharpness=_FLOOR, least_noise=least_noise)
    return noise, signals


def _uneven(fit: Callable[..., LabelNoise], seen: Candidates) -> bool:
    """Whether one of two classes has clearly more wrong labels than the other."""
    some = seen.part(slice(None, None, max(1, len(seen.labels) // _ENOUGH)))
    even, free = (fit(some, even=one, least_noise=FREE, start=fit(some, even=one)) for one in (True, False))
    gain = free.log_likelihood(some) - even.log_likelihood(some)
    return gain > _UNEVEN and float(1 - free.transition.right.min()) < _HALF
