"""``oga verify``: whether trimming, relabelling or weighting improves the test accuracy.

In: the samples of a scan, its run, and test samples. Out: the test accuracies of networks that are trained on
all samples, on what each action leaves of them, and on randomly trimmed ones. Seeds are paired: a seed gives
the same initial weights in every arm. Without test samples a part of the samples is held out before the
checkpoints of the scan are trained and the rest is scanned, so that the held-out ones have no influence on
what is flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor, nn

from ogacli.base.options import Options
from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import resolve
from ogacli.data import Samples
from ogacli.data.samples import check_features, check_samples
from ogacli.errors import DataError, RunError
from ogacli.models.sources import NetworkSource
from ogacli.models.sources.in_memory import network_source_of
from ogacli.models.tasks import Task, tasks
from ogacli.models.training.loop import TrainOptions
from ogacli.run.directory import Run
from ogacli.scan.retraining.arms import Verification
from ogacli.scan.retraining.benefit import chooser
from ogacli.scan.retraining.nested import Nested, repeated
from ogacli.scan.retraining.trials import Trials
from ogacli.verdict.budget import Budget

_TESTED = 2000
"""So many samples are held out once, where there are as many."""


class VerifyOptions(Options):
    """The ``verify:`` section; ``test:`` in it is a data section, the test split."""

    seeds: Annotated[int, Field(ge=2)] = 5
    """Number of trainings of each arm."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Without ``test``: the share of the samples that is held out as the test split, before the scan is
    repeated on the others. Further such parts are held out in turn until 2,000 samples, or all, have been.
    The labels are the true ones where these are known, otherwise the given ones, wrong ones among them."""


def verify(
    samples: Samples,
    run: Run | str | Path,
    network: Callable[[], nn.Module] | NetworkSource,
    *,
    loss: str | Mapping[str, Any] | Task = "cross_entropy",
    train: Mapping[str, Any] | TrainOptions | None = None,
    options: Mapping[str, Any] | VerifyOptions | None = None,
    test: Samples | None = None,
    validation: Samples | None = None,
    budget: float | int | str | Budget | None = None,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
) -> Verification:
    """Retrain on all samples and on what each action leaves of them; the function ``ogacli.verify``.

    Args:
        samples: The samples that were scanned.
        run: Their run, or its folder.
        network: Returns a network with fresh weights; or the options of a model source.
        loss: The loss of a sample.
        train: The keys of the ``train:`` section.
        options: The keys of the ``verify:`` section.
        test: The test split. Where it is left out, parts of the samples are held out, and the scan is
        repeated
            without them; its checkpoints must come from ``ogacli.train`` or ``folds``.
        validation: The validation samples of the scan, if it had any.
        budget: Trim another share than the scan flagged.
        workers: Processes that read samples.
        progress: Shows the progress.

    Raises:
        OgaError: The model cannot be trained, the run is of another dataset, or the scan cannot be repeated.
    """
    check_samples(samples, "samples")
    if test is not None:
        check_samples(test, "test")
    source, training = network_source_of(network), TrainOptions.given(train, "train")
    return verify_samples(
        training.weighted(source.prepare(samples)),
        run if isinstance(run, Run) else Run.open(run),
        source,
        resolve(tasks, loss, by="name", place="loss"),
        training,
        VerifyOptions.given(options, "verify"),
        test=None if test is None else source.prepare(test),
        validation=None if validation is None else source.prepare(validation),
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
    validation: Samples | None = None,
    budget: Budget | None = None,
    workers: int | Literal["auto"] = "auto",
    ranks: Ranks = ALONE,
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
        test: The test split, prepared; parts of the samples are held out where it is left out.
        validation: The validation samples of the scan, prepared.
        budget: Trim another share than the scan flagged.
        workers: Processes that read and decode.
        ranks: The processes that share the trainings; each of them gets the result.
        progress: Shows the progress.

    Raises:
        OgaError: The model cannot be trained, the run is of another dataset, or the scan cannot be repeated.
    """
    check_same(samples, run)
    trials = Trials(source, task, training, options.seeds, workers, ranks)
    if test is not None:
        _check_classes(test, samples)
        check_features(samples, test, "verify.test")
        labels: Literal["true", "given", "test"] = "test" if test.truth is None else "true"
        with progress.bar("retraining", trials.most(samples)) as advance:
            trials.run(samples, run, _judged(test), budget, advance)
        return trials.result(labels, parts=0)
    nested = _repeated(run, samples, source, task, budget, validation, workers)
    parts = held_out(len(samples), options.holdout)
    total = len(parts) * (trials.most(samples) + nested.trainings)
    with progress.bar("retraining", total) as advance:
        for held in parts:
            rest = torch.ones(len(samples), dtype=torch.bool)
            rest[held] = False
            others = samples.select(rest.nonzero()[:, 0])
            with TemporaryDirectory() as folder:
                again = nested.scanned(others, Path(folder))
                advance(nested.trainings)
                trials.run(others, again, _judged(samples.select(held)), None, advance)
    return trials.result("given" if samples.truth is None else "true", parts=len(parts))


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


def _check_classes(test: Samples, samples: Samples) -> None:
    if test.classes != samples.classes:
        raise DataError(
            "the test samples have other classes than the training samples",
            place="test",
            found=", ".join(test.classes[:10]) or "none",
            expected=", ".join(samples.classes[:10]) or "none",
            hint="name them in one order by `classes`, for both",
        )


def _repeated(
    run: Run,
    samples: Samples,
    source: NetworkSource,
    task: Task,
    budget: Budget | None,
    validation: Samples | None,
    workers: int | Literal["auto"],
) -> Nested:
    """The scan of the run, to be repeated without the held-out samples.

    Raises:
        RunError: It cannot be repeated.
    """
    try:
        return repeated(
            run,
            samples,
            source,
            task,
            budget=budget,
            validation=validation,
            workers=workers,
            choose=chooser,
        )
    except RunError as error:
        raise RunError(
            "the scan cannot be repeated without held-out samples, which its checkpoints have seen",
            place=str(run.path),
            found=f"{error.place}: {error.problem}",
            expected=error.expected,
            hint="name samples that were not trained on as `verify.test`, or scan checkpoints of `oga train`",
        ) from None


def held_out(n: int, share: float) -> Sequence[Int64[Tensor, " m"]]:
    """Seeded random parts of the rows, ascending; each is the test split once."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    size = max(1, round(share * n))
    parts = order[: n // size * size].view(-1, size)
    return [part.sort().values for part in parts[: -(-_TESTED // size)]]


def _judged(test: Samples) -> Samples:
    """The test samples with their true labels where these are known."""
    return test if test.truth is None else replace(test, labels=test.truth)
