"""The first commands of a new user: ``demo``, ``init`` and ``doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from ogacli.cli.arguments import Json, LogJson, Overrides, Overwrite, Quiet
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal


@command(order=10)
def demo(
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("runs/digits"),
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Train, scan, trim and verify on digits; takes under a minute."""
    from ogacli.cli.views.starting import demo_view
    from ogacli.config.demo import demo

    terminal = Terminal(json=json, quiet=quiet, log_json=log_json)
    results = demo(output, overwrite=overwrite, progress=terminal)
    terminal.result(results.document(), *demo_view(results))


@command(order=20)
def init(
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Table, images in a folder, zip or tar, npz, saved dataset."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of data; default: by the name of DATA.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("oga.yaml"),
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a commented starter config."""
    from ogacli.cli.views.starting import starter_view
    from ogacli.config.starter import init

    starter = init(data, kind, output=output, overwrite=overwrite)
    terminal = Terminal(json=json)
    terminal.notes(starter.inputs.columns)
    terminal.result(starter.document(output), *starter_view(starter, output))


@command(order=30)
def doctor(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Also estimate the cost of its scan.")
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Show versions, devices and, with a config, what a scan costs."""
    from ogacli.cli.views.starting import doctor_view
    from ogacli.config.commands import doctor

    checkup = doctor(config, overrides or ())
    terminal = Terminal(json=json)
    terminal.notes(None if checkup.plan is None else checkup.plan.columns)
    terminal.result(checkup.document(), *doctor_view(checkup))
    if checkup.missing:
        raise typer.Exit(2)
