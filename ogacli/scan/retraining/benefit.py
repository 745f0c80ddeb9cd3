"""``budget: benefit``: try out how much of the samples it helps to leave out, and how.

In: the setup of a scan. Out: a ``Benefit``: the gain of each amount and action, and the choice. In each fold
the samples are ranked and the networks trained without the held-out part; the networks are compared on its
given labels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.progress import SILENT, Progress
from ogacli.data import Samples
from ogacli.models.training.accuracy import trained_correct
from ogacli.run.directory import Run
from ogacli.scan.retraining.probes import Probe, extent, probe_of
from ogacli.scan.retraining.treatments import Treated, treated
from ogacli.scan.retraining.tried import Outcome, Tried
from ogacli.scan.setup import Setup
from ogacli.verdict.benefit import Benefit, Choice, Chosen, best, trials
from ogacli.verdict.budget import BenefitOptions, Budget

_SEEN = {
    True: "the features of the model were trained on the labels of the held-out samples, too, which hides "
    "what trimming gains; `probe: network` or a scan with `--folds` avoids that",
    None: "it is not known whether the features of the model were trained on these labels; if they were, "
    "that hides what trimming gains",
}


def chooser(
    setup: Setup, tried: Tried | None = None, *, progress: Progress = SILENT
) -> Callable[[], Chosen] | None:
    """The function that chooses the amount of a budget ``benefit``; None for any other budget.

    Args:
        setup: The input of the scan.
        tried: The trainings of an interrupted scan.
        progress: Shows the progress.
    """
    if setup.budget.value != "benefit":
        return None
    return partial(choose, setup, tried or Tried(), progress)


def choices(options: BenefitOptions) -> list[Choice]:
    """What is tried: first to leave the samples as they are, then each action with each amount."""
    found = [Choice("trim", 0.0)]
    for action in options.actions:
        amounts = [0.0] if action == "weight" else [amount for amount in options.amounts if amount]
        found += [Choice(action, amount) for amount in amounts]
    return found


def trainings(setup: Setup) -> int:
    """How many heads or networks are trained to choose the amount of the budget; 0 where it is given."""
    if setup.budget.value != "benefit":
        return 0
    folds, ranking, last = extent(setup)
    options = setup.budget.benefit
    return folds * (ranking + options.seeds * len(choices(options))) + last


def choose(setup: Setup, tried: Tried, progress: Progress = SILENT) -> Chosen:
    """Train on each choice in each fold, and take the one whose gain minus one standard error is highest.

    Where the whole network is trained, all samples are then ranked as those of the folds were.

    Raises:
        OgaError: The model has no features, or cannot be trained.
    """
    options = setup.budget.benefit
    probe = probe_of(setup, progress)
    several = choices(options)
    total = trainings(setup)
    progress.note(_cost(probe, options.seeds, len(several), total))
    found: dict[Choice, list[Float[np.ndarray, "seeds m"]]] = {one: [] for one in several}
    sizes: dict[Choice, list[int]] = {one: [] for one in several}
    ranks, own = setup.ranks, dict[str, Tensor]()
    with progress.bar("trying out amounts", total) as advance:
        for number in ranks.dealt(range(len(probe.held))):
            with TemporaryDirectory() as folder:
                fold = _Fold(probe, number, options.seeds, tried, Path(folder), advance)
                for place, choice in enumerate(several):
                    outcomes = fold.outcomes(choice)
                    correct = np.stack([one.correct[~np.isnan(one.correct)] for one in outcomes])
                    own[f"{number}/{place}/correct"] = torch.from_numpy(correct)
                    own[f"{number}/{place}/size"] = torch.tensor(outcomes[0].samples)
        results = {name: one for part in ranks.gathered(own) for name, one in part.items()}
        for number in range(len(probe.held)):
            for place, choice in enumerate(several):
                found[choice].append(results[f"{number}/{place}/correct"].numpy())
                sizes[choice].append(int(results[f"{number}/{place}/size"]))
        findings = None
        if probe.ranks and ranks.first:
            with TemporaryDirectory() as folder:
                findings = probe.nested.found(setup.samples, Path(folder)).verdict.findings
            advance(probe.nested.trainings)
    tried_out = trials(found, sizes)
    chosen = best(tried_out)
    benefit = Benefit(
        action=chosen.action,
        amount=chosen.amount,
        gain=chosen.gain,
        error=chosen.error,
        probe="network" if probe.ranks else "head",
        folds=len(probe.held),
        seeds=options.seeds,
        trainings=total,
        samples=sum(table.shape[1] for table in found[several[0]]),
        labels_seen=probe.labels_seen,
        ranked=probe.nested.recipe.trainings if probe.ranks else None,
        notes=probe.notes if probe.labels_seen is False else (*probe.notes, _SEEN[probe.labels_seen]),
        trials=tried_out,
    )
    return Chosen(benefit, findings)


class _Fold:
    """The trainings without one part of the samples."""

    def __init__(
        self,
        probe: Probe,
        number: int,
        seeds: int,
        tried: Tried,
        folder: Path,
        advance: Callable[[int], None],
    ) -> None:
        self.probe = probe
        self.number = number
        self.seeds = seeds
        self.tried = tried
        self.folder = folder
        self.advance = advance
        self._ranked: tuple[Samples, Samples, Run] | None = None
        """The other samples, the held-out ones, and the run of the former."""
        self._done: list[tuple[Treated, int, Outcome]] = []
        """What was trained on, by which seed, and the outcome."""

    def outcomes(self, choice: Choice) -> list[Outcome]:
        """What networks predict rightly after a training on what a choice leaves, by seed."""
        found = []
        for seed in range(self.seeds):
            entry = (self.number, choice, seed)
            outcome = self.tried.get(entry)
            if outcome is None:
                outcome = self._trained(choice, seed)
                self.tried.add(entry, outcome)
            found.append(outcome)
            self.advance(1)
        if choice.nothing:
            self.advance(self.probe.nested.trainings)
        return found

    def _trained(self, choice: Choice, seed: int) -> Outcome:
        others, held, run = self._ranking()
        one = Treated(others)
        if not choice.nothing:
            one = treated(others, run, choice.action, Budget(choice.amount))
        for other, with_seed, outcome in self._done:
            if with_seed == seed and one.same(other):
                return outcome
        nested = self.probe.nested
        correct = trained_correct(
            one.samples,
            held,
            nested.source,
            nested.task,
            self.probe.training,
            seed=seed,
            weights=one.weights,
            workers=nested.workers,
        )
        outcome = Outcome(len(one.samples), correct.double().numpy())
        self._done.append((one, seed, outcome))
        return outcome

    def _ranking(self) -> tuple[Samples, Samples, Run]:
        """The samples of the fold and the scan without the held-out ones, made when it is first needed."""
        if self._ranked is None:
            samples, held = self.probe.samples(self.number), self.probe.held[self.number]
            rest = torch.ones(len(samples), dtype=torch.bool)
            rest[held] = False
            others = samples.select(rest.nonzero()[:, 0])
            run = self.probe.nested.scanned(others, self.folder / "ranked")
            self._ranked = (others, samples.select(held), run)
        return self._ranked


def _cost(probe: Probe, seeds: int, several: int, total: int) -> str:
    """What will be trained."""
    what = "the whole network" if probe.ranks else "a head on the model's features"
    last = f" + {probe.nested.trainings} to rank all" if probe.ranks else ""
    n = sum(len(rows) for rows in probe.held)
    parts = f"{probe.nested.trainings} to rank + {seeds} seeds x {several} choices"
    return (
        f"budget: benefit trains {what} {total:,} times ({len(probe.held)} folds x ({parts}){last}), "
        f"each on up to {n - len(probe.held[0]):,} samples"
    )
