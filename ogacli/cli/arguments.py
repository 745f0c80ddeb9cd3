"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ogacli.cli.completion import config_files as config_files
from ogacli.cli.completion import run_folders as run_folders

ConfigFile = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="YAML config; `oga init` writes one.", autocompletion=config_files),
]
RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run directory written by `oga scan`.", autocompletion=run_folders),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a config key, such as budget=0.1. Repeatable."),
]
BudgetText = Annotated[
    str | None,
    typer.Option("--budget", metavar="B", help="Budget in place of the run's: 0.1, 10%, 20, auto, benefit."),
]
FoldCount = Annotated[
    int | None,
    typer.Option("--folds", metavar="K", min=2, help="Cross-validation: one network for each of K folds."),
]
WorkerCount = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Processes on this machine that share the work."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output of oga.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no notes.")]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Progress and messages as JSON on stderr, one object a line.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also list the gradient layers.")]
