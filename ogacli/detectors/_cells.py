"""Labels of several cells: a class of a sample with any number of classes, or a target of a regression.

In: for each cell the probability that its value is wrong. Out: one score a sample.
"""

from abc import abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import Detector, Needs
from ogacli.gradients import GradientBatch

_TEMPERATURE = 0.1
"""Of the weights in the mean over cells. The highest probability alone, or that of any wrong cell, ranked
worse in `benchmarks/kinds.py`: cells of a sample that is hard to predict are doubtful together."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The judgement on each cell of the labels of a batch."""

    wrong: Float[Tensor, "b m"]
    """The probability that its value is wrong."""
    suggested: Float[Tensor, "b m"]
    """The value to put in its place: 0 or 1, or a number."""


class CellDetector(Detector):
    """Judges every cell of a label; scores a sample by its most doubtful cells."""

    @abstractmethod
    def cells(self, batch: GradientBatch) -> Cells:
        """The judgement on each cell, once fitted."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The weighted mean of the probabilities of its cells to be wrong, from 0 to 1."""
        return score_of(self.cells(batch).wrong)

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """None of the gradient: cells are judged by the predictions."""
        return Needs()


def score_of(wrong: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """The mean over the cells, weighted by exp(probability / 0.1): near the highest probability.

    Args:
        wrong: The probability of each cell to be wrong.
    """
    return (wrong * (wrong / _TEMPERATURE).softmax(1)).sum(1)
