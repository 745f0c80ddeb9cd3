"""Labels of several cells: a class of a sample with any number of classes, a target of a regression, a word.

In: for each cell the prediction and the given value. Out: the probability that the given value is wrong, and
one score a sample.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Generic, Protocol, Self, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.data import Samples
from ogacli.detectors import Detector, DetectorOptions, Needs
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch

_TEMPERATURE = 0.1
"""Of the weights in the mean over cells. The highest probability alone, or that of any wrong cell, ranked
worse in `benchmarks/kinds.py`: cells of a sample that is hard to predict are doubtful together."""
_ENTRIES = 1 << 21
"""Cells that are held while fitting: 16 MB in float64. With more it sees no further samples."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The judgement on each cell of the labels of a batch."""

    wrong: Float[Tensor, "b m"]
    """The probability that its value is wrong; -1 where the sample has no such cell."""
    suggested: Float[Tensor, "b m"]
    """The value to put in its place: 0 or 1, or a number."""
    margin: Float[Tensor, "b m"]
    """Of a number: with a probability of 10 % the right one is farther from the suggested one. Else 0."""

    @property
    def score(self) -> Float[Tensor, " b"]:
        """The score of each sample, from 0 to 1: the weighted mean of the probabilities of its cells."""
        return score_of(self.wrong)


class CellNoise(Protocol):
    """What is fitted: a model of how the values of cells become wrong."""

    @classmethod
    def fitted(cls, predictions: Tensor, given: Tensor, /) -> Self:
        """Fit to predictions and given values, [n, m] each."""

    def wrong(self, predictions: Tensor, given: Tensor, /) -> Tensor:
        """The probability that each given value is wrong, [b, m]."""

    def suggested(self, predictions: Tensor, given: Tensor, /) -> tuple[Tensor, Tensor]:
        """The values to put in the place of the given ones, and their margins; [b, m] each."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""

    def state(self) -> dict[str, Tensor]:
        """The parameters by name, on the CPU."""

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Self:
        """From what ``state`` returned."""


N = TypeVar("N", bound=CellNoise)


class CellOptions(DetectorOptions):
    """Base of the options of detectors that judge cells."""

    fit_samples: Annotated[int, Field(ge=1)] = 20_000
    """How many samples it is fitted to, at most."""


class CellDetector(Detector):
    """Judges every cell of a label; scores a sample by its most doubtful cells."""

    classes: tuple[str, ...] = ()
    """The class names."""
    held_out: bool = False
    """Whether the model was not trained on the labels that it is scored on; set before ``fit``."""

    def see_samples(self, samples: Samples) -> None:
        """Take the class names."""
        self.classes = samples.classes

    @abstractmethod
    def cells(self, batch: GradientBatch) -> Cells:
        """The judgement on each cell, once fitted."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """Made of the probabilities of its cells to be wrong; from 0 to 1."""
        return self.cells(batch).score

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """None of the gradient: cells are judged by the predictions."""
        return Needs()


class FittedCells(CellDetector, Generic[N]):
    """Judges cells by a model of how their values become wrong.

    Args:
        options: With the number of samples to fit to.
        kind: The class of what is fitted.
    """

    def __init__(self, options: CellOptions, kind: type[N]) -> None:
        self.options = options
        self._kind = kind
        self.noise: N | None = None

    @abstractmethod
    def read(self, batch: GradientBatch) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """The predictions and the given values, float64.

        Raises:
            GradientError: The labels are of another kind.
        """

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit how values become wrong.

        Raises:
            DataError: There is no sample.
            GradientError: The labels are of another kind.
        """
        predictions, given, held = list[Tensor](), list[Tensor](), 0
        for batch in batches:
            one, other = self.read(batch)
            predictions.append(one)
            given.append(other)
            held += one.numel()
            del batch  # before the next one is computed
            if held >= _ENTRIES:
                break
        if not given:
            raise DataError("no sample to fit the label noise to", expected="at least one that can be read")
        self.noise = self._kind.fitted(torch.cat(predictions), torch.cat(given))

    def cells(self, batch: GradientBatch) -> Cells:
        """The judgement on each cell, once fitted."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(batch.logits.device)
        predictions, given = self.read(batch)
        wrong = self.noise.wrong(predictions, given)
        return Cells(wrong, *self.noise.suggested(predictions, given))

    def state(self) -> dict[str, Tensor]:
        """The parameters."""
        return {} if self.noise is None else self.noise.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the parameters."""
        self.noise = self._kind.of(state) if state else None


def score_of(wrong: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """The mean over the cells, weighted by exp(probability / 0.1): near the highest probability.

    Args:
        wrong: The probability of each cell to be wrong; -1 where there is none.
    """
    weights = (wrong / _TEMPERATURE).masked_fill(wrong < 0, -torch.inf).softmax(1)
    return (wrong * weights.nan_to_num(0.0)).sum(1)
