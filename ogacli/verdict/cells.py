"""Cells of labels that are probably wrong, and how many samples have one.

A cell is a part of a label that is judged by itself, such as a class of a sample with any number of classes,
or a target of a regression. In: the probability that each cell is wrong. Out: which samples have a wrong
cell, an ``Estimate`` of their share, and for which classes one mistake is systematic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from ogacli.verdict.estimate import ALIKE, CONTRADICTED, Estimate

if TYPE_CHECKING:  # reading a summary needs no torch
    from torch import Tensor

_SURE = 0.9
"""The lower end of the estimate counts samples that have a wrong cell with this probability."""
_MOSTLY = 0.5
"""Where a larger part of the cells is doubted, no share is told."""
_FEW, _MANY = 0.005, 0.1
"""Where fewer samples than the first share more probably have a wrong cell than none, but more than the
second are expected to have one, no share is told."""


_FEWEST, _OFTEN, _TIMES = 10, 0.03, 2.0
"""A mistake is systematic for a class with so many cases, where their share is surely above the second
number, and so many times that of the other classes."""
_SURELY = 1.645
"""Standard deviations below the share: it is higher with a probability of 95 %."""


@dataclass(frozen=True, slots=True)
class CellFindings:
    """The most doubtful cells of each sample."""

    index: Int64[Tensor, "n c"]
    """Which cell: the index of a class, a target or a word; -1 where there is none."""
    wrong: Float[Tensor, "n c"]
    """The probability that its value is wrong."""
    suggested: Float[Tensor, "n c"]
    """The value to put in its place."""
    margin: Float[Tensor, "n c"]
    """Of a number: with a probability of 10 % the right one is farther from the suggested one. Else 0."""

    def part(self, rows: slice) -> CellFindings:
        """Those of some samples in sequence."""
        return CellFindings(self.index[rows], self.wrong[rows], self.suggested[rows], self.margin[rows])

    def at(self, rows: Int64[Tensor, " m"]) -> CellFindings:
        """Those of some samples."""
        return CellFindings(self.index[rows], self.wrong[rows], self.suggested[rows], self.margin[rows])

    @property
    def highest(self) -> Float[Tensor, " n"]:
        """The probability that the most doubtful cell of each sample is wrong."""
        return self.wrong.max(1).values

    @property
    def any_wrong(self) -> Float[Tensor, " n"]:
        """The probability that some cell of each sample is wrong, as if one told nothing of another."""
        return 1 - (1 - self.wrong.double()).prod(1)

    @property
    def doubted(self) -> Bool[Tensor, "n c"]:
        """The cells that are more probably wrong than right."""
        return (self.wrong > 0.5) & (self.index >= 0)

    def corrected(self, labels: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
        """The labels with the suggested values in place of those that are more probably wrong than right."""
        found = labels.flatten(1).clone() if labels.ndim > 1 else labels[:, None].clone()
        row, place = self.doubted.nonzero(as_tuple=True)
        found[row, self.index[row, place]] = self.suggested[row, place].to(found.dtype)
        return found.reshape(labels.shape)

    def estimate(self, scored: Bool[Tensor, " n"], *, held_out: bool, several: bool) -> Estimate:
        """The share of the scored samples that more probably have a wrong cell than none.

        It is no larger than the share that is expected to have one.

        Args:
            scored: Which samples have a score.
            held_out: Whether no sample was scored by a model that was trained on it.
            several: Whether scores are means over checkpoints.
        """
        found = self.at(scored.nonzero()[:, 0])
        doubted, known = (int(one.count_nonzero()) for one in (found.doubted, found.index >= 0))
        told = doubted > 0
        if not told:  # of labels that show no noise, whose probabilities were halved
            found = replace(found, wrong=2 * found.wrong)
        some = found.any_wrong
        expected = float(some.mean())
        share = low = 0.0
        if told:
            share, low = (min(expected, float((some > bound).double().mean())) for bound in (0.5, _SURE))
        by = "held out" if held_out else "trajectory" if several else "checkpoint"
        if doubted > _MOSTLY * known:
            return Estimate(share=None, low=0.0, high=expected, by=by, reason=CONTRADICTED)
        if share < _FEW and expected > _MANY:
            return Estimate(share=None, low=0.0, high=expected, by=by, reason=ALIKE)
        return Estimate(share=share, low=low, high=expected, by=by)


def systematic(wrong: Int64[np.ndarray, " k"], of: Int64[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    """For which classes a mistake occurs far more often than for the others.

    Args:
        wrong: The cases of each class.
        of: Of how many, at least as many as the cases.
    """
    total = np.maximum(of, 1)
    share, z = wrong / total, _SURELY**2 / total
    low = (share + z / 2 - np.sqrt(z * (share * (1 - share) + z / 4))) / (1 + z)  # Wilson's interval
    others = (wrong.sum() - wrong) / np.maximum(of.sum() - of, 1)
    found: Bool[np.ndarray, " k"] = (wrong >= _FEWEST) & (low > np.maximum(_OFTEN, _TIMES * others))
    return found
