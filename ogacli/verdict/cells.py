"""Cells of labels that are probably wrong, and how many samples have one.

A cell is a class of a sample with any number of classes, a target of a regression, or a word with a tag. In:
the probability that each cell is wrong. Out: which samples have a wrong cell, and an ``Estimate`` of their
share.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from ogacli.verdict.estimate import ALIKE, Estimate

_SURE = 0.9
"""The lower end of the estimate counts samples with a cell that is wrong with this probability."""
_FEW, _MANY = 0.005, 0.1
"""Where fewer samples than the first share have a cell above one half, but more than the second are expected
to have a wrong one, no share is told."""


@dataclass(frozen=True, slots=True)
class CellFindings:
    """The most doubtful cells of each sample."""

    index: Int64[Tensor, "n c"]
    """Which cell: the index of a class, a target or a word; -1 where there is none."""
    wrong: Float[Tensor, "n c"]
    """The probability that its value is wrong."""
    suggested: Float[Tensor, "n c"]
    """The value to put in its place."""

    def part(self, rows: slice) -> "CellFindings":
        """Those of some samples in sequence."""
        return CellFindings(self.index[rows], self.wrong[rows], self.suggested[rows])

    def at(self, rows: Int64[Tensor, " m"]) -> "CellFindings":
        """Those of some samples."""
        return CellFindings(self.index[rows], self.wrong[rows], self.suggested[rows])

    @property
    def highest(self) -> Float[Tensor, " n"]:
        """The probability that the most doubtful cell of each sample is wrong."""
        return self.wrong.max(1).values

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
        """The share of the scored samples that have a wrong cell.

        Args:
            scored: Which samples have a score.
            held_out: Whether no sample was scored by a model that was trained on it.
            several: Whether scores are means over checkpoints.
        """
        wrong = self.wrong[scored].double()
        share = float((wrong > 0.5).any(1).double().mean())
        low = float((wrong > _SURE).any(1).double().mean())
        expected = float((1 - (1 - wrong).prod(1)).mean())
        by = "held out" if held_out else "trajectory" if several else "checkpoint"
        if share < _FEW and expected > _MANY:
            return Estimate(share=None, low=0.0, high=expected, by=by, reason=ALIKE)
        return Estimate(share=share, low=low, high=max(share, expected), by=by)
