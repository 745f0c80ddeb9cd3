"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML config; `oga init` writes one.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory that `oga scan` wrote.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a config key, such as budget=0.1. Repeatable."),
]
FoldCount = Annotated[
    int | None,
    typer.Option(
        "--folds", metavar="K", min=2, help="K networks, none of which scores what it was trained on."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what oga wrote there before.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only results, warnings and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also say what was resolved.")]
