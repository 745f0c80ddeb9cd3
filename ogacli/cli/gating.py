"""Commands that judge a run, or compare it with an earlier one: ``gate`` and ``diff``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogacli.cli.arguments import Json, Overwrite, run_folders
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal

if TYPE_CHECKING:
    from ogacli.run.gate.outcome import Gate

_POLICY = Path("gate.yaml")
"""What ``--init`` writes where no file is named."""


@command(order=110)
def gate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="Run directory written by `oga scan`.", autocompletion=run_folders
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file of limits; `--init` writes one.")
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Write a commented policy: to --policy FILE, or gate.yaml.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the policy. Repeatable."),
    ] = None,
    max_flagged: Annotated[
        str | None, typer.Option(metavar="B", help="Largest share or count of flagged samples.")
    ] = None,
    require_useful: Annotated[
        bool, typer.Option("--require-useful", help="Fail unless the checkpoint is found to be useful.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Earlier run: flagged samples that are new or changed since then fail.",
            autocompletion=run_folders,
        ),
    ] = None,
    reviewed: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Samples that may be flagged: an id a line, or decisions.json."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write Markdown.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the annotations of GitHub Actions.")
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT=FILE", help="Also write a format of a plug-in. Repeatable."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Check a run against limits; exit 1 when one is exceeded.

    Within GitHub Actions it also writes annotations, and a summary of the job.
    """
    from ogacli.cli.views.runs import gate_view
    from ogacli.run.gate import gate

    terminal = Terminal(json=json)
    if init:
        _write_policy(policy or _POLICY, terminal, overwrite=overwrite)
        return
    if run is None:
        raise typer.BadParameter("a run directory is missing", param_hint="RUN")
    outcome = gate(
        run,
        policy=policy,
        max_flagged=max_flagged,
        require_useful=require_useful,
        baseline=baseline,
        reviewed=reviewed,
        overrides=changes or (),
    )
    named = {"junit": junit, "markdown": markdown, "annotations": annotations}
    files = [(format, file) for format, file in named.items() if file is not None]
    _write_formats(outcome, [*files, *map(_format_and_file, write or ())], overwrite=overwrite)
    _tell_github(outcome)
    terminal.result(outcome.document(), *gate_view(outcome))
    if not outcome.passed:
        raise typer.Exit(1)


@command(order=105)
def diff(
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE", help="The earlier run.", autocompletion=run_folders)
    ],
    now: Annotated[Path, typer.Argument(metavar="RUN", help="The later run.", autocompletion=run_folders)],
    format: Annotated[str, typer.Option(help="text or md.")] = "text",
    json: Json = False,
) -> None:
    """List what two runs flag differently, and what is new or gone."""
    from ogacli.cli.views.runs import difference_view
    from ogacli.run.diff import diff

    if format not in ("text", "md"):
        raise typer.BadParameter(f"{format!r} is not text or md", param_hint="--format")
    found = diff(before, now)
    if format == "md" and not json:
        print(found.markdown(), end="")
        return
    Terminal(json=json).result(found.document(), *difference_view(found))


def _write_policy(file: Path, terminal: Terminal, *, overwrite: bool) -> None:
    from ogacli.run.gate.starter import write_starter

    write_starter(file, overwrite=overwrite)
    terminal.result({"schema_version": 1, "policy": str(file)}, str(file))
    terminal.note(f"next: oga gate RUN --policy {file}")


def _write_formats(outcome: "Gate", files: list[tuple[str, Path]], *, overwrite: bool) -> None:
    from ogacli.run.gate.formats import write

    for format, file in files:
        write(outcome, format, file, overwrite=overwrite)


def _format_and_file(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise typer.BadParameter(f"{text!r} is not FORMAT=FILE", param_hint="--write")
    return name, Path(file)


def _tell_github(outcome: "Gate") -> None:
    """Annotations on stderr, and the summary of the job, where the environment is that of GitHub Actions."""
    from ogacli.run.gate.formats import formats

    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    print(formats.get("annotations")(outcome), end="", file=sys.stderr)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as opened:  # other steps write there too
            opened.write(formats.get("markdown")(outcome) + "\n")
