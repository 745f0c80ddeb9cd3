"""Commands that take a config: ``train``, ``scan``, ``verify`` and ``attribute``."""

from pathlib import Path
from typing import Annotated

import typer

from ogacli.base.progress import SILENT
from ogacli.cli.arguments import (
    BudgetText,
    ConfigFile,
    FoldCount,
    Json,
    LogJson,
    Overrides,
    Overwrite,
    Quiet,
    Verbose,
    WorkerCount,
    run_folders,
)
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal


@command(order=40)
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    folds: FoldCount = None,
    workers: WorkerCount = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Train the config's model; one checkpoint per epoch or fold."""
    from ogacli.base.processes.sharing import shared
    from ogacli.cli.views.scanning import training_view
    from ogacli.config import load_config

    terminal = Terminal(json=json, quiet=quiet, log_json=log_json)
    changes = [] if folds is None else [f"train.folds={folds}"]
    with shared(workers) as ranks:
        from ogacli.config.commands import train  # takes seconds, in which the others start

        loaded = load_config(config, [*(overrides or ()), *changes])
        progress = terminal if ranks.first else SILENT
        training = train(loaded, overwrite=overwrite, ranks=ranks, progress=progress)
    if not ranks.first:
        return
    terminal.notes(training.columns)
    terminal.result(training.document(), *training_view(training, config, loaded.model))


@command(order=50)
def scan(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run directory to write; default: the config's `output`."),
    ] = None,
    folds: FoldCount = None,
    since: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Earlier run: score only samples that are new or changed since then.",
            autocompletion=run_folders,
        ),
    ] = None,
    workers: WorkerCount = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted scan.")] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check config, data and model on one batch; write nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
    verbose: Verbose = False,
) -> None:
    """Score every sample and write a run directory with a report.

    Where no detector is named, latent_label decides, by predicted probabilities and nearest neighbours,
    and l2 and isolation_forest stand beside it, by the gradients. `preset: paper` is the CIFAR setting of the
    paper; its GLUE experiments trim 30 %, its half moons use second derivatives as well.
    """
    from ogacli.base.processes.sharing import shared
    from ogacli.cli.views.scanning import plan_view, scan_view
    from ogacli.config import load_config

    terminal = Terminal(json=json, quiet=quiet, log_json=log_json)
    if dry_run:
        from ogacli.config.commands import plan

        loaded = load_config(config, overrides or ())
        planned = plan(loaded, output=output, overwrite=overwrite, resume=resume, folds=folds)
        terminal.notes(planned.columns)
        terminal.result(planned.document(), *plan_view(planned))
        if folds is not None:
            terminal.note("folds that do not exist yet would be trained first; that time is not included")
        return
    with shared(workers) as ranks:
        from ogacli.config.commands import assist, scan  # takes seconds, in which the others start

        loaded = load_config(config, overrides or ())
        if not ranks.first:
            assist(
                loaded,
                output=output,
                folds=folds,
                since=since,
                overwrite=overwrite,
                ranks=ranks,
                progress=Terminal(json=json, quiet=True),
            )
            return
        run = scan(
            loaded,
            output=output,
            overwrite=overwrite,
            resume=resume,
            folds=folds,
            since=since,
            ranks=ranks,
            progress=terminal,
        )
    terminal.notes(run.summary.columns)
    for warning in run.summary.diagnosis.warnings:
        terminal.warn(warning)
    document = run.summary.model_dump(mode="json") | {"run": str(run.path)}
    terminal.result(document, *scan_view(run, verbose=verbose))


@command(order=80)
def verify(
    config: ConfigFile,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Run to verify; default: the config's `output`."),
    ] = None,
    budget: BudgetText = None,
    overrides: Overrides = None,
    workers: WorkerCount = None,
    json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Retrain with and without the flagged samples, and compare."""
    from ogacli.base.processes.sharing import shared
    from ogacli.cli.views.scanning import verification_view
    from ogacli.config import load_config
    from ogacli.verdict.budget import Budget

    terminal = Terminal(json=json, quiet=quiet, log_json=log_json)
    amount = None if budget is None else Budget.parse(budget, "--budget")
    with shared(workers) as ranks:
        from ogacli.config.commands import verify  # takes seconds, in which the others start

        loaded = load_config(config, overrides or ())
        progress = terminal if ranks.first else SILENT
        verification = verify(loaded, run, budget=amount, ranks=ranks, progress=progress)
    if not ranks.first:
        return
    terminal.result(verification.document(), *verification_view(verification))


@command(order=90)
def attribute(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write; default: `attribute.output`.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Find the training samples or groups behind each prediction."""
    from ogacli.cli.views.scanning import attribution_view
    from ogacli.config import load_config
    from ogacli.config.commands import attribute

    terminal = Terminal(json=json, quiet=quiet, log_json=log_json)
    loaded = load_config(config, overrides or ())
    attribution = attribute(loaded, output=output, overwrite=overwrite, progress=terminal)
    terminal.result(attribution.document(), *attribution_view(attribution))
