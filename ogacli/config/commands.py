"""The commands that take a config, as functions.

In: a checked ``Config``. Out: the result of the function of the same name in ``scan`` or ``models.training``.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ogacli.base.atomic import check_free
from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.base.processes.running import running
from ogacli.base.progress import SILENT, Progress
from ogacli.config import Config, load_config
from ogacli.config.doctor import Checkup, examine, missing
from ogacli.config.folds import (
    alone,
    arguments,
    checkpoint_folder,
    folded,
    folds_folder,
    local_folder,
    rehearsed,
)
from ogacli.data.originals import stamp_of
from ogacli.errors import ConfigError, OgaError, collecting
from ogacli.models.training.folds import CrossValidation, train_folds
from ogacli.models.training.start import trainable
from ogacli.models.training.train import Training
from ogacli.models.training.train import train as train_epochs
from ogacli.run.directory import Run
from ogacli.scan.attribution import Attribution, attribute_samples, is_attribution
from ogacli.scan.attribution import Setup as AttributionSetup
from ogacli.scan.earlier.resume import Unfinished, check_output
from ogacli.scan.earlier.since import Earlier, refuse_folds
from ogacli.scan.execute import execute
from ogacli.scan.plan import Plan
from ogacli.scan.plan import plan as plan_setup
from ogacli.scan.retraining import verify as verification
from ogacli.scan.retraining.arms import Verification
from ogacli.scan.retraining.benefit import chooser
from ogacli.scan.setup import Setup
from ogacli.scan.stopwatch import Clock
from ogacli.verdict.budget import Budget

_NO_OUTPUT = "add `output: runs/NAME` to the config, or --output DIR"


def scan(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    folds: int | None = None,
    since: str | Path | Run | None = None,
    ranks: Ranks = ALONE,
    progress: Progress = SILENT,
) -> Run:
    """Score every sample and write a run directory.

    Args:
        config: Data, model and options.
        output: The run directory; default: the config's ``output``.
        overwrite: Replace an earlier run, and an earlier training of folds.
        resume: Continue an interrupted scan of the same config, if there is one.
        folds: Score each sample by the one of so many networks that was not trained on it; they are trained
            first unless the same training exists already.
        since: An earlier run of the same checkpoint and options: samples that are as they were keep their
            results, the others are scored by the detectors that were fitted there. Budget, ranks and all
            that follows from them are decided anew.
        ranks: The processes that share the scan; the others call ``assist``.
        progress: Receives the progress.

    Raises:
        OgaError: A mistake of the user; no run is written then.
    """
    if folds is not None and since is not None:
        raise refuse_folds()  # before a training that may take hours
    folder = _output(config, output)
    check_output(folder, overwrite=overwrite, resume=resume)
    with running(folder, "scan", progress) as (lock, shown):
        check_output(folder, overwrite=overwrite, resume=resume)  # before a training that may take hours
        if folds is not None:
            config = folded(config, folds, overwrite=overwrite, ranks=ranks, progress=shown)
        ranks.of_first(dict)  # the others wait until the folds are written
        clock = Clock()
        setup, weights = setup_of(config, ranks), config.model.fingerprints()
        earlier = None if since is None else Earlier(since, setup, weights, shown)
        others = {} if earlier is None else {"since": earlier.run.counts.data}
        unfinished = Unfinished(folder, setup, weights | others, progress=shown, check=lock.check)
        tried = unfinished.begin(resume=resume)
        try:
            result = execute(
                setup,
                weights=weights,
                clock=clock,
                unfinished=unfinished,
                resume=resume,
                earlier=earlier,
                choose=chooser(setup, tried, progress=shown),
                progress=shown,
            )
            assert result is not None, "this is the first rank"
            lock.check()
            run = result.save(folder, overwrite=overwrite)
        except KeyboardInterrupt:
            progress.note(f"interrupted; {unfinished.next_step}")
            raise
        unfinished.remove()
    return run


def assist(
    config: Config,
    *,
    output: str | Path | None = None,
    folds: int | None = None,
    since: str | Path | Run | None = None,
    overwrite: bool = False,
    ranks: Ranks,
    progress: Progress = SILENT,
) -> None:
    """Take part in a scan of the same config, as any rank but the first one, which writes the run.

    Args:
        config: As on the first rank.
        output: As on the first rank; the state of an unfinished scan is kept beside it.
        folds: As on the first rank.
        since: As on the first rank, which reads it.
        overwrite: As on the first rank.
        ranks: The processes that share the scan.
        progress: Receives the progress of this one.

    Raises:
        OgaError: A mistake of the user.
    """
    if folds is not None and since is not None:
        raise refuse_folds()
    if folds is not None:
        config = folded(config, folds, overwrite=overwrite, ranks=ranks)
    ranks.of_first(dict)
    setup, weights = setup_of(config, ranks), config.model.fingerprints()
    others = {} if since is None else {"since": Run.open(since).counts.data}
    unfinished = Unfinished(_output(config, output), setup, weights | others, progress=progress)
    execute(setup, weights=weights, clock=Clock(), unfinished=unfinished, choose=chooser(setup))


def plan(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    folds: int | None = None,
) -> Plan:
    """What this scan would do, measured on one batch; nothing is written and no fold is trained.

    Raises:
        OgaError: What the scan, or the training of its folds, would raise: every problem that is found, also
            where the output exists already.
    """
    problems: list[OgaError] = []
    with collecting(problems):
        check_output(_output(config, output), overwrite=overwrite, resume=resume)
    absent = missing(config, trained=folds is None)
    problems += absent
    if not absent:
        planned = nullcontext(config) if folds is None else rehearsed(config, folds, overwrite=overwrite)
        with collecting(problems), planned as ready:
            found = plan_setup(setup_of(ready), Path(output or config.output or "").absolute())
    if problems:
        raise OgaError.all_of(problems)
    return found


def train(
    config: Config, *, overwrite: bool = False, ranks: Ranks = ALONE, progress: Progress = SILENT
) -> Training | CrossValidation:
    """Train the model; one checkpoint per epoch, or with ``train.folds`` one per fold.

    Args:
        config: Data, model, loss and training.
        overwrite: Replace an earlier training.
        ranks: The processes that share the batches, or the folds; each of them gets the result.
        progress: Receives the progress.

    Raises:
        OgaError: A mistake of the user; nothing is written then.
    """
    crossed = config.train.folds is not None
    folder = folds_folder(config) if crossed else checkpoint_folder(config)
    with alone(folder, "train", progress, ranks) as shown:
        given = arguments(config, folder, overwrite=overwrite, progress=shown)
        return (train_folds if crossed else train_epochs)(**given, ranks=ranks)


def verify(
    config: Config,
    run: str | Path | Run | None = None,
    *,
    budget: Budget | None = None,
    ranks: Ranks = ALONE,
    progress: Progress = SILENT,
) -> Verification:
    """Retrain on all samples, on what each action leaves of them, and on randomly trimmed ones.

    Args:
        config: Data, model, loss and training; the section ``verify`` has the number of seeds.
        run: The run whose flags are tested; default: the config's ``output``.
        budget: Replaces the budget of the run.
        ranks: The processes that share the trainings; each of them gets the result.
        progress: Receives the progress.

    Raises:
        OgaError: The model cannot be trained, or the run is of another dataset.
    """
    opened = run if isinstance(run, Run) else Run.open(_output(config, run))
    source = trainable(config.model)
    samples = config.train.weighted(source.prepare(config.data.open()))
    verification.check_same(samples, opened)
    validated = config.validation is not None and opened.config.get("validation") is not None
    return verification.verify_samples(
        samples,
        opened,
        source,
        config.loss,
        config.train,
        config.verify,
        test=None if config.test is None else source.prepare(config.test.open()),
        validation=source.prepare(config.validation.open()) if config.validation and validated else None,
        budget=budget,
        workers=config.data.workers,
        ranks=ranks,
        progress=progress,
    )


def attribute(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Attribution:
    """Find the training samples that explain the prediction of each query, and write them.

    Args:
        config: With a section ``query``.
        output: The folder to write; default: ``attribute.output``.
        overwrite: Replace earlier attributions there.
        progress: Receives the progress.

    Raises:
        OgaError: A mistake of the user; nothing is written then.
    """
    configured = config.attribute.output or (f"{config.output}-attributions" if config.output else None)
    folder = local_folder(output or configured, "output", _NO_OUTPUT)
    check_free(folder, overwrite=overwrite, ours=is_attribution)
    if config.query is None:
        raise ConfigError(
            "no queries given", place="query", expected="a section like `data` with the query samples"
        )
    with running(folder, "attribute", progress) as (_, shown):
        setup = AttributionSetup(
            samples=config.data.open(),
            queries=config.query.open(),
            source=config.model,
            task=config.loss,
            gradients=config.gradients,
            detectors=config.detectors,
            options=config.attribute,
            settings=config.resolved,
            workers=config.data.workers,
        )
        return attribute_samples(setup, folder, overwrite=overwrite, progress=shown)


def doctor(config: Config | str | Path | None = None, overrides: Sequence[str] = ()) -> Checkup:
    """Versions and devices of this machine and, with a config, what its scan misses or would cost.

    Args:
        config: A config, or its file; mistakes in the file are among what is missing.
        overrides: Each ``dotted.key=value``, for a file.
    """
    checkup = examine()
    if config is None:
        return checkup
    try:
        loaded = config if isinstance(config, Config) else load_config(config, overrides)
        return replace(checkup, plan=plan(loaded, overwrite=True))
    except OgaError as error:
        return replace(checkup, missing=error.messages)


def _output(config: Config, output: str | Path | None) -> Path:
    return local_folder(output or config.output, "output", _NO_OUTPUT)


def setup_of(config: Config, ranks: Ranks = ALONE) -> Setup:
    """The input of a scan of this config; the samples are opened."""
    compares = any(options.detector().wants_validation for options in config.detectors)
    validation = config.validation if compares else None
    stamp = stamp_of(config.resolved["data"], Path())  # before the data is read, which may change meanwhile
    samples = config.model.prepare(config.data.open())
    return Setup(
        samples=config.train.weighted(samples) if config.budget.value == "benefit" else samples,
        source=config.model,
        task=config.loss,
        gradients=config.gradients,
        detectors=config.detectors,
        budget=config.budget,
        protect=config.protect,
        validation=None if validation is None else config.model.prepare(validation.open()),
        workers=config.data.workers,
        settings=config.resolved,
        train=config.train,
        ranks=ranks,
        look_for=config.look_for,
        against=None if config.against is None else config.model.prepare(config.against.open()),
        stamp=stamp,
    )
