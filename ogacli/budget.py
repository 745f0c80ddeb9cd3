"""How much may be flagged: scores + rule -> which samples are.

A budget is a fraction of the samples (at most 1), a count (a whole number), or ``auto``.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ogacli.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Budget:
    """A fraction (float from 0 to 1), a count (int) or ``auto``."""

    value: float | int | Literal["auto"]

    @classmethod
    def parse(cls, value: object) -> "Budget":
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
        if isinstance(number, float) and 0 <= number <= 1:
            return cls(number)
        if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
            return cls(number)
        raise ConfigError(
            "not a budget",
            found=repr(value),
            expected="a fraction such as 0.05 (or 5%), a count such as 200, or auto",
        )

    def count(self, n: int, disagreements: int) -> int:
        """How many of n scored samples to flag.

        Args:
            n: Samples that have a score.
            disagreements: Samples whose prediction is not their label; what ``auto`` flags.
        """
        if self.value == "auto":
            return disagreements
        if isinstance(self.value, float):
            return round(self.value * n)
        return min(self.value, n)


def flag(scores: Float[Tensor, " n"], count: int) -> Bool[Tensor, " n"]:
    """The ``count`` highest scores; ties go to the earlier row, NaN is never flagged."""
    order = torch.argsort(scores.nan_to_num(nan=-torch.inf), descending=True, stable=True)
    flagged = torch.zeros(len(scores), dtype=torch.bool)
    flagged[order[:count]] = True
    return flagged & ~scores.isnan()
