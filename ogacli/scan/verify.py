"""``oga verify``: did trimming help? Retrains on all samples, on the trimmed, and on randomly trimmed ones.

In: a config, the run of its scan, and test samples that no training sees. Out: test accuracies after the
last epoch, with paired seeds: one seed gives the same weights to begin with in every arm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ogacli.base.device import device_of
from ogacli.base.progress import SILENT, Progress
from ogacli.base.seeding import seeded
from ogacli.errors import RunError
from ogacli.models.sources import Fit, NetworkSource
from ogacli.models.training.fit import accuracy, fit
from ogacli.models.training.train import trainable
from ogacli.run.trim import kept_positions, manifest_table

if TYPE_CHECKING:
    from ogacli.config import Config
    from ogacli.data import Samples
    from ogacli.run.directory import Run
    from ogacli.verdict.budget import Budget

ALL, TRIMMED, RANDOM, ORACLE = "all", "trimmed", "random", "oracle"


@dataclass(frozen=True, slots=True)
class Arm:
    """The trainings on one choice of samples."""

    name: str
    samples: int
    accuracies: tuple[float, ...]
    """On the test split after the last epoch, by seed."""

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))


@dataclass(frozen=True, slots=True)
class Difference:
    """``trimmed`` minus another arm, seed by seed."""

    against: str
    mean: float
    low: float
    high: float
    """Ends of the 95 % confidence interval of the mean (Student's t on the paired differences)."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What retraining showed."""

    arms: tuple[Arm, ...]
    differences: tuple[Difference, ...]
    test: int
    """Samples of the test split."""

    @property
    def verdict(self) -> str:
        """``helped``, ``harmed`` or ``no difference shown``, by the interval against ``all``."""
        against = next(d for d in self.differences if d.against == ALL)
        if against.low > 0:
            return "helped"
        return "harmed" if against.high < 0 else "no difference shown"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema_version": 1, "verdict": self.verdict} | asdict(self)


def verify(
    config: Config,
    run: Run,
    *,
    samples: Samples | None = None,
    test: Samples | None = None,
    budget: Budget | None = None,
    progress: Progress = SILENT,
) -> Verification:
    """Retrain the config's model on each arm and compare.

    Args:
        config: Model, loss and ``train:`` as in the training; ``verify:`` says how often.
        run: The scan whose flags are tried.
        samples: The samples that were scanned; opened from the config where left out.
        test: The test split; from the config where left out.
        budget: Trim another share than the scan flagged.
        progress: Told how far it is.

    Raises:
        OgaError: The model cannot be trained, or the run is of another dataset.
    """
    source = trainable(config.model)
    samples = source.prepare(config.data.open()) if samples is None else samples
    if samples.fingerprint != run.provenance["dataset"]["fingerprint"]:
        raise RunError(
            "the run is of another dataset than the config",
            place=str(run.path),
            hint="scan with this config first, or name the right run by --run",
        )
    if test is None and config.test is not None:
        test = source.prepare(config.test.open())
    train = torch.ones(len(samples), dtype=torch.bool)
    if test is None:
        train, test = _held_out(samples, config.verify.holdout)
    arms = []
    choices = _choices(samples, run, train, budget)
    total = len(choices) * config.verify.seeds
    with progress.bar("retraining", total) as advance:
        for name, rows in choices.items():
            chosen = samples.select(rows)
            found = []
            for seed in range(config.verify.seeds):
                found.append(trained_accuracy(config, source, chosen, test, seed))
                advance(1)
            arms.append(Arm(name, len(rows), tuple(found)))
    trimmed = next(arm for arm in arms if arm.name == TRIMMED)
    differences = tuple(difference(trimmed, arm) for arm in arms if arm is not trimmed)
    return Verification(tuple(arms), differences, len(test))


def _choices(
    samples: Samples, run: Run, train: Bool[Tensor, " n"], budget: Budget | None
) -> Mapping[str, Int64[Tensor, " m"]]:
    """The rows that each arm trains on."""
    kept = torch.isin(samples.positions, torch.tensor(kept_positions(manifest_table(run, budget=budget))))
    rows = train.nonzero()[:, 0]
    trimmed = (train & kept).nonzero()[:, 0]
    if not len(trimmed):
        raise RunError("nothing is left to train on after trimming", place=str(run.path))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    choices = {ALL: rows, TRIMMED: trimmed, RANDOM: rows[order[: len(trimmed)]].sort().values}
    if samples.truth is not None:
        choices[ORACLE] = (train & (samples.labels == samples.truth)).nonzero()[:, 0]
    return choices


def _held_out(samples: Samples, share: float) -> tuple[Bool[Tensor, " n"], Samples]:
    """A seeded random part as the test split, with its true labels where they are known."""
    from dataclasses import replace

    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    held = order[: max(1, round(share * len(samples)))].sort().values
    train = torch.ones(len(samples), dtype=torch.bool)
    train[held] = False
    test = samples.select(held)
    return train, test if test.truth is None else replace(test, labels=test.truth)


def trained_accuracy(
    config: Config, source: NetworkSource, samples: Samples, test: Samples, seed: int
) -> float:
    """Accuracy on ``test`` after the last epoch of the config's training on ``samples``, with a seed."""
    device = device_of(config.train.device)
    with seeded(seed, device):
        module = source.build(Fit.of(samples))
    options = config.train.model_copy(update={"seed": seed})
    fit(module, samples, config.loss.loss(), options, device=device, workers=config.data.workers)
    return accuracy(module, test, device=device, workers=config.data.workers)


def difference(trimmed: Arm, other: Arm) -> Difference:
    """One arm minus another, seed by seed."""
    from scipy.stats import t

    gaps = np.subtract(trimmed.accuracies, other.accuracies)
    half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return Difference(other.name, float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half))
