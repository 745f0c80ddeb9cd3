"""Commands to begin with: ``demo``, ``init`` and ``doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from ogacli.cli.arguments import Json, Overrides, Overwrite, Quiet
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal


@command(order=10)
def demo(
    output: Annotated[Path, typer.Option(help="Where to write.")] = Path("runs/digits"),
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train, scan, trim and verify on digits with flipped labels; under a minute."""
    from ogacli.cli.views.starting import demo_view
    from ogacli.config.demo import demo

    terminal = Terminal(json=json, quiet=quiet)
    found = demo(output, overwrite=overwrite, progress=terminal)
    terminal.result(found.document(), *demo_view(found))


@command(order=20)
def init(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="A table; pictures in a folder, zip or tar; an npz; a saved dataset."
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="What it is, where the name does not tell.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("oga.yaml"),
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a commented starter config."""
    from ogacli.cli.views.starting import starter_view
    from ogacli.config.starter import init

    found = init(data, kind, output=output, overwrite=overwrite)
    Terminal(json=json).result(found.document(output), *starter_view(found, output))


@command(order=30)
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="Also plan its scan.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Tell what this machine can do and, with a config, what its scan would cost."""
    from ogacli.cli.views.starting import doctor_view
    from ogacli.config import load_config
    from ogacli.config.commands import doctor

    found = doctor(None if config is None else load_config(config, overrides or ()))
    Terminal(json=json).result(found.document(), *doctor_view(found))
