"""The trainings of ``oga verify``: on all samples, and on what each action leaves of them.

In: samples, their run and test samples; of several parts one after the other. Out: a ``Verification``.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.data import Samples
from ogacli.models.sources import NetworkSource
from ogacli.models.tasks import Task
from ogacli.models.training.accuracy import trained_correct
from ogacli.models.training.loop import TrainOptions
from ogacli.run.directory import Run
from ogacli.scan.retraining.arms import (
    ACTIONS,
    ALL,
    ORACLE,
    RANDOM,
    RELABELLED,
    TRIMMED,
    WEIGHTED,
    Arm,
    Verification,
    difference,
)
from ogacli.scan.retraining.treatments import Treated, treated
from ogacli.verdict.budget import Budget


class Trials:
    """The trainings of all arms."""

    def __init__(
        self,
        source: NetworkSource,
        task: Task,
        training: TrainOptions,
        seeds: int,
        workers: int | Literal["auto"],
        ranks: Ranks = ALONE,
    ) -> None:
        self.source = source
        self.task = task
        self.training = training
        self.seeds = seeds
        self.workers = workers
        self.ranks = ranks
        self.correct: dict[str, list[list[np.ndarray[Any, Any]]]] = {}
        """For each arm and part, the right predictions of each seed."""
        self.sizes: dict[str, list[int]] = {}

    def most(self, samples: Samples) -> int:
        """The trainings of one part."""
        return self.seeds * (len(ACTIONS) + 2 + bool(len(_right(samples))))

    def run(
        self,
        samples: Samples,
        run: Run,
        test: Samples,
        budget: Budget | None,
        advance: Callable[[int], None],
    ) -> None:
        """Train on each choice of these samples with each seed; equal choices are trained on once."""
        different: list[Treated] = []
        arms: dict[str, int] = {}
        for name, one in _choices(samples, run, budget):
            arms[name] = next((i for i, other in enumerate(different) if one.same(other)), len(different))
            if arms[name] == len(different):
                different.append(one)
            self.sizes.setdefault(name, []).append(len(one.samples))
        jobs = [(i, seed) for i in range(len(different)) for seed in range(self.seeds)]
        advance(self.seeds * len(arms) - len(jobs))
        own = {}
        for i, seed in self.ranks.dealt(jobs):
            own[f"{i}/{seed}"] = self._train(different[i], test, seed)
            advance(self.ranks.count)
        found = {name: one for part in self.ranks.gathered(own) for name, one in part.items()}
        for name, i in arms.items():
            several = [found[f"{i}/{seed}"].numpy() for seed in range(self.seeds)]
            self.correct.setdefault(name, []).append(several)

    def _train(self, one: Treated, test: Samples, seed: int) -> Float[Tensor, " m"]:
        """Which test samples a network predicts rightly."""
        return trained_correct(
            one.samples,
            test,
            self.source,
            self.task,
            self.training,
            seed=seed,
            weights=one.weights,
            workers=self.workers,
        ).double()

    def result(self, labels: Literal["true", "given", "test"], parts: int) -> Verification:
        """The arms and their differences, over all parts together."""
        arms = []
        for name, of_parts in self.correct.items():
            correct = tuple(np.concatenate(several) for several in zip(*of_parts, strict=True))
            accuracies = tuple(float(np.nanmean(one)) for one in correct)
            arms.append(Arm(name, round(float(np.mean(self.sizes[name]))), accuracies, correct))
        named = {arm.name: arm for arm in arms}
        pairs = [(name, ALL) for name in named if name != ALL] + [(TRIMMED, RANDOM)]
        differences = tuple(difference(named[one], named[other]) for one, other in pairs)
        return Verification(tuple(arms), differences, len(arms[0].correct[0]), labels, parts)


def _choices(samples: Samples, run: Run, budget: Budget | None) -> Iterator[tuple[str, Treated]]:
    """What each arm trains on."""
    trimmed = treated(samples, run, "trim", budget)
    yield ALL, Treated(samples)
    yield TRIMMED, trimmed
    yield RELABELLED, treated(samples, run, "relabel", budget)
    yield WEIGHTED, treated(samples, run, "weight", budget)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    yield RANDOM, Treated(samples.select(order[: len(trimmed.samples)].sort().values))
    if len(right := _right(samples)):
        yield ORACLE, Treated(samples.select(right))


def _right(samples: Samples) -> Int64[Tensor, " m"]:
    """The rows whose given label is the true one; none where that is unknown."""
    if (wrong := samples.wrong) is None:
        return torch.empty(0, dtype=torch.int64)
    return (~wrong).nonzero()[:, 0]
