"""The commands that take a config, as functions.

In: a checked ``Config``. Out: what the functions of the rooms below return for its options and its data.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ogacli.base.atomic import check_free
from ogacli.base.progress import SILENT, Progress
from ogacli.config import Config
from ogacli.config.doctor import Checkup, examine
from ogacli.config.folds import arguments, checkpoint_folder, folded, folds_folder, rehearsed
from ogacli.errors import ConfigError
from ogacli.models.training import folds as cross_validation
from ogacli.models.training import train as training
from ogacli.models.training.start import trainable
from ogacli.run.directory import Run, is_run
from ogacli.scan import verify as verification
from ogacli.scan.attribution import Attribution, attribute_samples, is_attribution
from ogacli.scan.execute import execute
from ogacli.scan.plan import Plan
from ogacli.scan.plan import plan as plan_setup
from ogacli.scan.resume import Unfinished, check_unfinished
from ogacli.scan.setup import Setup
from ogacli.scan.stopwatch import Clock
from ogacli.verdict.budget import Budget


def scan(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    folds: int | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Score every sample and write a run directory.

    Args:
        config: What to scan, and how.
        output: The run directory; the config's ``output`` where left out.
        overwrite: Replace an earlier run, and an earlier training of folds.
        resume: Continue an interrupted scan of the same config, if there is one.
        folds: Score each sample by the one of so many networks that was not trained on it; they are trained
            first unless the same training is there already.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; no run is written then.
    """
    folder = output_folder(config, output)
    _check_output(folder, overwrite=overwrite)  # before a training that may take hours
    if folds is not None:
        config = folded(config, folds, overwrite=overwrite, progress=progress)
    clock = Clock()
    setup, weights = setup_of(config), config.model.fingerprints()
    unfinished = Unfinished(folder, setup, weights)
    result = execute(
        setup, weights=weights, clock=clock, unfinished=unfinished, resume=resume, progress=progress
    )
    run = result.save(folder, overwrite=overwrite)
    unfinished.remove()
    return run


def plan(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    folds: int | None = None,
) -> Plan:
    """What such a scan would do, found out on one batch; nothing is written and no fold is trained.

    Raises:
        OgaError: What the scan, or the training of its folds, would raise at its start.
    """
    folder = output_folder(config, output)
    _check_output(folder, overwrite=overwrite)
    planned = nullcontext(config) if folds is None else rehearsed(config, folds, overwrite=overwrite)
    with planned as known:
        return plan_setup(setup_of(known), folder)


def train(config: Config, *, overwrite: bool = False, progress: Progress = SILENT) -> training.Training:
    """Train the config's model on the config's samples; one checkpoint an epoch.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    folder = checkpoint_folder(config)
    return training.train(**arguments(config, folder, overwrite=overwrite, progress=progress))


def train_folds(
    config: Config, *, overwrite: bool = False, progress: Progress = SILENT
) -> cross_validation.CrossValidation:
    """Train one network a fold of the config's samples; ``train.folds`` is the number of folds.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    folder = folds_folder(config)
    return cross_validation.train_folds(**arguments(config, folder, overwrite=overwrite, progress=progress))


def verify(
    config: Config,
    run: str | Path | Run | None = None,
    *,
    budget: Budget | None = None,
    progress: Progress = SILENT,
) -> verification.Verification:
    """Retrain on all, on trimmed and on randomly trimmed samples.

    Args:
        config: Data, model, loss and training; ``verify:`` says how often.
        run: The scan whose flags are tested; the config's ``output`` where left out.
        budget: Trim another share than the scan flagged.
        progress: Told how far it is.

    Raises:
        OgaError: The model cannot be trained, or the run is of another dataset.
    """
    opened = run if isinstance(run, Run) else Run.open(output_folder(config, run))
    source = trainable(config.model)
    samples = source.prepare(config.data.open())
    verification.check_same(samples, opened)
    return verification.verify_samples(
        samples,
        opened,
        source,
        config.loss,
        config.train,
        config.verify,
        test=None if config.test is None else source.prepare(config.test.open()),
        budget=budget,
        workers=config.data.workers,
        progress=progress,
    )


def attribute(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Attribution:
    """Relate each query to the training samples, and write what was found.

    Args:
        config: With a ``query:`` section.
        output: The folder to write; ``attribute.output`` where left out.
        overwrite: Replace earlier attributions there.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    own = config.attribute.output or (f"{config.output}-attributions" if config.output else None)
    folder = _local(output or own)
    check_free(folder, overwrite=overwrite, ours=is_attribution)
    if config.query is None:
        raise ConfigError(
            "there are no queries", place="query", expected="a section like `data`, of the queries"
        )
    return attribute_samples(
        config.data.open(),
        config.query.open(),
        config.model,
        config.loss,
        gradients=config.gradients,
        detectors=config.detectors,
        options=config.attribute,
        workers=config.data.workers,
        output=folder,
        settings=config.resolved,
        overwrite=overwrite,
        progress=progress,
    )


def doctor(config: Config | None = None) -> Checkup:
    """What this machine can do and, with a config, what its scan would cost.

    Raises:
        OgaError: What the scan would raise at its start.
    """
    return replace(examine(), plan=None if config is None else plan(config, overwrite=True))


def output_folder(config: Config, output: str | Path | None) -> Path:
    """The run directory.

    Raises:
        ConfigError: Neither the config nor the caller names it, or it is no local folder.
    """
    return _local(output or config.output)


def _local(folder: str | Path | None) -> Path:
    if folder is None:
        raise ConfigError("no output given", hint="add `output: runs/NAME` to the config, or --output DIR")
    if "://" in str(folder):
        raise ConfigError(
            "a run directory is a local folder", place="output", found=str(folder), expected="a path"
        )
    return Path(folder).absolute()


def _check_output(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a run directory may be written, and an unfinished scan beside it."""
    check_free(folder, overwrite=overwrite, ours=is_run)
    check_unfinished(folder)


def setup_of(config: Config) -> Setup:
    """What a scan of this config needs; its samples are opened."""
    comparing = any(options.detector().wants_validation for options in config.detectors)
    validation = config.validation if comparing else None
    return Setup(
        samples=config.model.prepare(config.data.open()),
        source=config.model,
        task=config.loss,
        gradients=config.gradients,
        detectors=config.detectors,
        budget=config.budget,
        protect=config.protect,
        validation=None if validation is None else config.model.prepare(validation.open()),
        workers=config.data.workers,
        settings=config.resolved,
    )
