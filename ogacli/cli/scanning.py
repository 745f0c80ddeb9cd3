"""Commands that take a config: ``train``, ``scan``, ``verify`` and ``attribute``."""

from pathlib import Path
from typing import Annotated

import typer

from ogacli.cli.arguments import ConfigFile, FoldCount, Json, Overrides, Overwrite, Quiet, Verbose
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal


@command(order=40)
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    folds: FoldCount = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a reference model on the config's data: one checkpoint an epoch, or one a fold."""
    from ogacli.cli.views.scanning import folds_view, training_view
    from ogacli.config import load_config
    from ogacli.config.commands import train, train_folds

    terminal = Terminal(json=json, quiet=quiet)
    changes = [] if folds is None else [f"train.folds={folds}"]
    loaded = load_config(config, [*(overrides or ()), *changes])
    if loaded.train.folds is not None:
        found = train_folds(loaded, overwrite=overwrite, progress=terminal)
        terminal.result(found.document(), *folds_view(found, config))
        return
    training = train(loaded, overwrite=overwrite, progress=terminal)
    terminal.result(training.document(), *training_view(training, config, loaded.model))


@command(order=50)
def scan(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory to write; the config's `output`.")
    ] = None,
    folds: FoldCount = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted scan.")] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check config, data and model on one batch; write nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score every sample and write a run directory with a report."""
    from ogacli.cli.views.scanning import plan_view, scan_view
    from ogacli.config import load_config
    from ogacli.config.commands import plan, scan

    terminal = Terminal(json=json, quiet=quiet, verbose=verbose)
    loaded = load_config(config, overrides or ())
    if dry_run:
        planned = plan(loaded, output=output, overwrite=overwrite, folds=folds)
        terminal.result(planned.document(), *plan_view(planned))
        if folds is not None:
            terminal.note("folds that are not there yet would be trained first, which takes its own time")
        return
    try:
        run = scan(loaded, output=output, overwrite=overwrite, resume=resume, folds=folds, progress=terminal)
    except KeyboardInterrupt:
        terminal.note("interrupted; the same command with --resume goes on from here")
        raise
    for warning in run.summary.diagnosis.warnings:
        terminal.warn(warning)
    document = run.summary.model_dump(mode="json") | {"run": str(run.path)}
    terminal.result(document, *scan_view(run, verbose=verbose))


@command(order=80)
def verify(
    config: ConfigFile,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="The scan to try; the config's `output`.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="B", help="Trim another share than the scan flagged.")
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Retrain on all, on trimmed and on randomly trimmed samples; say whether trimming helped."""
    from ogacli.cli.views.scanning import verification_view
    from ogacli.config import load_config
    from ogacli.config.commands import verify
    from ogacli.verdict.budget import Budget

    terminal = Terminal(json=json, quiet=quiet)
    share = None if budget is None else Budget.parse(budget, "--budget")
    found = verify(load_config(config, overrides or ()), run, budget=share, progress=terminal)
    terminal.result(found.document(), *verification_view(found))


@command(order=90)
def attribute(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write; the config's `attribute.output`.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the training samples, or the group of them, that explain the prediction of each query."""
    from ogacli.cli.views.scanning import attribution_view
    from ogacli.config import load_config
    from ogacli.config.commands import attribute

    terminal = Terminal(json=json, quiet=quiet)
    loaded = load_config(config, overrides or ())
    found = attribute(loaded, output=output, overwrite=overwrite, progress=terminal)
    terminal.result(found.document(), *attribution_view(found))
