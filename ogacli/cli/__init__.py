"""``oga``: argv -> a function of ogacli -> its result on the terminal.

In: the command line. Out: results on stdout, everything else on stderr, and an exit code: 0 done, 1 a gate
that did not pass, 2 a mistake of the user (message) or a bug (traceback), 130 interrupted (143 by SIGTERM,
129 by SIGHUP). Every module of this package is searched for commands. A command imports heavy libraries
only when it runs, so that ``oga --help`` is fast.
"""

import gc
import pkgutil
import sys
import traceback
from importlib import import_module
from typing import Annotated

import typer

from ogacli.cli.command import commands
from ogacli.cli.signals import interrupting_signals
from ogacli.cli.terminal import Terminal, discard_output
from ogacli.cli.versions import versions
from ogacli.errors import OgaError

_NEW_OBJECTS = 100_000
"""New objects from one search for garbage to the next. Imports make hundreds of thousands that stay; with
Python's own limit of 700 a tenth of their time goes into looking through them."""


def main() -> None:
    """Run the command line; the entry point of ``oga`` and ``python -m ogacli``."""
    gc.set_threshold(_NEW_OBJECTS)
    try:
        _run()
    except OgaError as error:
        Terminal.of_command().error(str(error))
        sys.exit(2)
    except OSError as error:  # of the machine: a name that is too long, a full disk, a file of someone else
        place = f"{error.filename}: " if isinstance(error.filename, str) else ""
        Terminal.of_command().error(f"{place}{error.strerror or error}")
        discard_output()
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        print("This is a bug in oga: please report it with the lines above.", file=sys.stderr)
        sys.exit(2)


def _run() -> None:
    """Run the command, and write out what it printed before it ends.

    Raises:
        OSError: What it printed cannot be written.
    """
    try:
        with interrupting_signals():
            app()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has ended, as after `| head`
            discard_output()


def assembled() -> typer.Typer:
    """The app with all commands that the modules of this package define."""
    assembled_app = typer.Typer(
        name="oga",
        help="Find the training samples that hurt a model: outliers among per-sample gradients.",
        epilog="Start with `oga demo`, then `oga init`.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    assembled_app.callback()(oga)
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    for function in commands(import_module(f"{__name__}.{name}") for name in names):
        assembled_app.command()(function)
    return assembled_app


def _version(value: bool) -> None:
    if value:
        for name, found in versions():
            print(name, found)
        raise typer.Exit


def oga(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print versions.")
    ] = False,
) -> None:
    """Clean training data by Outlier Gradient Analysis."""


app = assembled()
