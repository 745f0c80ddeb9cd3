"""``oga verify``: whether trimming improves the test accuracy.

In: the samples of a scan, its run, and test samples. Out: the test accuracies of networks that are trained on
all samples, on the trimmed ones, and on randomly trimmed ones. Seeds are paired: a seed gives the same
initial weights in every arm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor, nn

from ogacli.base.options import Options
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import resolve
from ogacli.data import Samples
from ogacli.data.samples import check_features, check_samples
from ogacli.errors import DataError, RunError
from ogacli.models.sources import NetworkSource
from ogacli.models.sources.in_memory import network_source_of
from ogacli.models.tasks import Task, tasks
from ogacli.models.training.accuracy import trained_accuracy
from ogacli.models.training.loop import TrainOptions
from ogacli.run.directory import Run
from ogacli.run.trim.manifest import kept_positions, manifest_table
from ogacli.verdict.budget import Budget

ALL, TRIMMED, RANDOM, ORACLE = "all", "trimmed", "random", "oracle"


class VerifyOptions(Options):
    """The ``verify:`` section; ``test:`` in it is a data section, the test split."""

    seeds: Annotated[int, Field(ge=2)] = 5
    """Number of trainings of each arm."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Without ``test``: the share of the samples that is kept from all trainings as the test split. Their
    true labels are used where known; otherwise the given ones, wrong ones among them."""


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
    """The accuracies of all arms, and their differences."""

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
    samples: Samples,
    run: Run | str | Path,
    network: Callable[[], nn.Module] | NetworkSource,
    *,
    loss: str | Mapping[str, Any] | Task = "cross_entropy",
    train: Mapping[str, Any] | TrainOptions | None = None,
    options: Mapping[str, Any] | VerifyOptions | None = None,
    test: Samples | None = None,
    budget: float | int | str | Budget | None = None,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
) -> Verification:
    """Retrain on all, on trimmed and on randomly trimmed samples; the function ``ogacli.verify``.

    Args:
        samples: The samples that were scanned.
        run: Their run, or its folder.
        network: Returns a network with fresh weights; or the options of a model source.
        loss: The loss of a sample.
        train: The keys of the ``train:`` section.
        options: The keys of the ``verify:`` section.
        test: The test split; a part of the samples is held out where it is left out.
        budget: Trim another share than the scan flagged.
        workers: Processes that read samples.
        progress: Shows the progress.

    Raises:
        OgaError: The model cannot be trained, or the run is of another dataset.
    """
    check_samples(samples, "samples")
    if test is not None:
        check_samples(test, "test")
    source = network_source_of(network)
    return verify_samples(
        source.prepare(samples),
        run if isinstance(run, Run) else Run.open(run),
        source,
        resolve(tasks, loss, by="name", place="loss"),
        TrainOptions.given(train, "train"),
        VerifyOptions.given(options, "verify"),
        test=None if test is None else source.prepare(test),
        budget=budget if isinstance(budget, Budget | None) else Budget.parse(budget, "budget"),
        workers=workers,
        progress=progress,
    )


def verify_samples(
    samples: Samples,
    run: Run,
    source: NetworkSource,
    task: Task,
    training: TrainOptions,
    options: VerifyOptions,
    *,
    test: Samples | None = None,
    budget: Budget | None = None,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
) -> Verification:
    """Train the network on each choice of samples and compare the test accuracies.

    Args:
        samples: The samples that were scanned, as ``source.prepare`` returns them.
        run: The run whose flags are tested.
        source: Builds the network.
        task: The loss.
        training: Options of each training.
        options: The number of seeds and the test split.
        test: The test split; a part of the samples is held out where it is left out.
        budget: Trim another share than the scan flagged.
        workers: Processes that read and decode.
        progress: Shows the progress.

    Raises:
        OgaError: The model cannot be trained, or the run is of another dataset.
    """
    check_same(samples, run)
    train = torch.ones(len(samples), dtype=torch.bool)
    if test is None:
        train, test = _held_out(samples, options.holdout)
    elif test.classes != samples.classes:
        raise DataError(
            "the test samples have other classes than the training samples",
            place="test",
            found=", ".join(test.classes[:10]) or "none",
            expected=", ".join(samples.classes[:10]) or "none",
            hint="name them in one order by `classes`, for both",
        )
    check_features(samples, test, "verify.test")
    arms = []
    choices = _choices(samples, run, train, budget)
    with progress.bar("retraining", len(choices) * options.seeds) as advance:
        for name, rows in choices.items():
            chosen = samples.select(rows)
            accuracies = []
            for seed in range(options.seeds):
                accuracies.append(
                    trained_accuracy(chosen, test, source, task, training, seed=seed, workers=workers)
                )
                advance(1)
            arms.append(Arm(name, len(rows), tuple(accuracies)))
    trimmed = next(arm for arm in arms if arm.name == TRIMMED)
    differences = tuple(difference(trimmed, arm) for arm in arms if arm is not trimmed)
    return Verification(tuple(arms), differences, len(test))


def check_same(samples: Samples, run: Run) -> None:
    """Check that a run is of these samples.

    Raises:
        RunError: It is not.
    """
    if samples.fingerprint != run.provenance["dataset"]["fingerprint"]:
        raise RunError(
            "the run is of another dataset than the config",
            place=str(run.path),
            hint="scan with this config first, or name the right run by --run",
        )


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
    if (wrong := samples.wrong) is not None:
        choices[ORACLE] = (train & ~wrong).nonzero()[:, 0]
    return choices


def _held_out(samples: Samples, share: float) -> tuple[Bool[Tensor, " n"], Samples]:
    """A seeded random part as the test split, with its true labels where they are known."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    held = order[: max(1, round(share * len(samples)))].sort().values
    train = torch.ones(len(samples), dtype=torch.bool)
    train[held] = False
    test = samples.select(held)
    return train, test if test.truth is None else replace(test, labels=test.truth)


def difference(trimmed: Arm, other: Arm) -> Difference:
    """One arm minus another, seed by seed."""
    from scipy.stats import t

    gaps = np.subtract(trimmed.accuracies, other.accuracies)
    half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return Difference(other.name, float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half))
