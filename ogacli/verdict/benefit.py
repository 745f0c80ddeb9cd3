"""Which amount of the samples to leave out, and how: the choice of ``budget: benefit``.

In: for each choice, which held-out samples networks predict rightly, by fold and seed. Out: a ``Benefit``:
the gains over training on all samples, and the choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from ogacli.verdict.budget import Action

if TYPE_CHECKING:  # reading a summary needs no torch
    from ogacli.verdict.findings import Findings

Correct = Float[np.ndarray, "seeds m"]
"""1 where the network of a seed predicts the given label of a held-out sample of a fold, 0 elsewhere."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An action, and the share of the samples that it is applied to."""

    action: Action
    amount: float
    """The flagged share; 0 for ``weight``, which concerns all samples."""

    @property
    def nothing(self) -> bool:
        """Whether it leaves the samples as they are."""
        return self.action != "weight" and self.amount == 0


class Trial(BaseModel):
    """What one choice gained."""

    model_config = ConfigDict(frozen=True)

    action: Action
    amount: float
    """The share of the samples that is flagged; 0 for ``weight``, which concerns all samples."""
    samples: float
    """Mean number of samples that were trained on."""
    accuracy: float
    """Mean share of the held-out samples whose given label was predicted."""
    gain: float
    """That minus the accuracy after training on all samples."""
    error: float
    """Standard error of the gain: the larger of that over held-out samples and that over trainings."""


class Benefit(BaseModel):
    """What was tried out for ``budget: benefit``, and what was chosen."""

    model_config = ConfigDict(frozen=True)

    action: Action
    amount: float
    """The chosen share of the samples; 0 where nothing helps, and for ``weight``."""
    gain: float
    """What the choice gained in the probe."""
    error: float
    """The standard error of that gain."""
    probe: Literal["head", "network"]
    folds: int
    seeds: int
    trainings: int
    """Networks or heads that were trained."""
    samples: int
    """Samples that were held out once."""
    labels_seen: bool | None = None
    """Whether the features of a head were trained on the labels of the held-out samples; None where that is
    not known."""
    ranked: int | None = None
    """The number of networks that ranked the samples, each those that it was not trained on; None where the
    checkpoints of the scan did."""
    notes: tuple[str, ...] = ()
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choice, and the results that its amount is applied to."""

    benefit: Benefit
    findings: Findings | None = None
    """Of networks that were not trained on the samples; None: those of the scan."""


def trials(
    found: Mapping[Choice, Sequence[Correct]], sizes: Mapping[Choice, Sequence[int]]
) -> tuple[Trial, ...]:
    """The gains of all choices over the one that leaves the samples as they are.

    Args:
        found: For each choice, a table for each fold.
        sizes: For each choice, how many samples were trained on in each fold.
    """
    base = next(tables for choice, tables in found.items() if choice.nothing)
    return tuple(_trial(choice, tables, base, sizes[choice]) for choice, tables in found.items())


def best(several: Sequence[Trial]) -> Trial:
    """The trial whose gain minus one standard error is highest; among equal ones the first."""
    return max(several, key=lambda one: one.gain - one.error)


def _trial(choice: Choice, tables: Sequence[Correct], base: Sequence[Correct], sizes: Sequence[int]) -> Trial:
    gaps = [table - other for table, other in zip(tables, base, strict=True)]
    by_sample = np.concatenate([gap.mean(0) for gap in gaps])
    by_training = np.concatenate([gap.mean(1) for gap in gaps])
    accuracy = float(np.concatenate([table.mean(0) for table in tables]).mean())
    return Trial(
        action=choice.action,
        amount=choice.amount,
        samples=float(np.mean(sizes)),
        accuracy=accuracy,
        gain=float(by_sample.mean()),
        error=max(_error(by_sample), _error(by_training)),
    )


def _error(values: Float[np.ndarray, " n"]) -> float:
    """The standard error of a mean."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
