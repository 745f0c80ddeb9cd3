"""The budget: how many samples may be flagged; and the flags for given scores.

A budget is a fraction of the samples (at most 1), a count (a whole number), or ``auto``.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal

from ogacli.errors import ConfigError

if TYPE_CHECKING:  # `oga gate` reads budgets and needs no torch
    from jaxtyping import Bool, Float, Int64
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Budget:
    """A fraction (float from 0 to 1), a count (int) or ``auto``."""

    value: float | int | Literal["auto"]

    @classmethod
    def parse(cls, value: object, place: str | None = None) -> Budget:
        """From YAML or a command-line option: ``0.05``, ``5%``, ``200``, ``auto``.

        Raises:
            ConfigError: It is none of these.
        """
        if value == "auto":
            return cls("auto")
        number: object = value
        if isinstance(value, str):
            text, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
            try:
                number = float(text) / 100 if percent else int(text) if text.isdigit() else float(text)
            except ValueError:
                number = None
        elif isinstance(value, Integral) and not isinstance(value, bool):
            number = int(value)  # of numpy
        elif isinstance(value, Real) and not isinstance(value, bool):
            number = float(value)
        if isinstance(number, float) and 0 <= number <= 1:
            return cls(number)
        if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
            return cls(number)
        raise ConfigError(
            "not a budget",
            place=place,
            found=repr(value),
            expected="a fraction such as 0.05 (or 5%), a count such as 200, or auto",
        )

    def count(self, n: int, wrong: int) -> int:
        """How many of n scored samples to flag.

        Args:
            n: Samples that have a score.
            wrong: The estimated number of wrong labels, which ``auto`` flags.
        """
        if self.value == "auto":
            return min(wrong, n)
        if isinstance(self.value, float):
            return round(self.value * n)
        return min(self.value, n)


def flag(scores: Float[Tensor, " n"], count: int) -> Bool[Tensor, " n"]:
    """The ``count`` highest scores; ties go to the earlier row, NaN is never flagged."""
    flagged = scores.isnan() & False
    flagged[ranking(scores)[:count]] = True
    return flagged & ~scores.isnan()


def ranking(scores: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Rows from the highest score to the lowest; ties keep their order, NaN comes last."""
    return scores.nan_to_num(nan=-float("inf")).argsort(descending=True, stable=True)
