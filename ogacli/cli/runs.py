"""Commands that read a run directory: ``report``, ``trim``, ``compare`` and ``gate``."""

from pathlib import Path
from typing import Annotated

import typer

from ogacli.cli.arguments import Json, Overwrite, Quiet, RunFolder
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal


@command(order=60)
def report(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="html, md or json.")] = "html",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; html: RUN/report.html; else stdout.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the report of a run."""
    from ogacli.run.directory import Run
    from ogacli.run.reports import report, write_report

    opened = Run.open(run)
    if output is None and format == "html":
        output, overwrite = opened.path / "report.html", True  # derived from the run: nothing is lost
    if output is None:
        text = report(opened, format)
        if json and format != "json":
            Terminal(json=True).result({"schema_version": 1, "format": format, "text": text})
        else:
            print(text, end="")
        return
    write_report(opened, format, output, overwrite=overwrite)
    Terminal(json=json).result({"schema_version": 1, "report": str(output)}, str(output))


@command(order=70)
def trim(
    run: RunFolder,
    to: Annotated[Path, typer.Option("--to", metavar="DEST", help="File or folder to write.")],
    budget: Annotated[
        str | None, typer.Option(metavar="B", help="Drop another share: 0.1, 10%, a count, or auto.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table of id, decision (keep|drop|relabel), label.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="csv, jsonl, parquet, indices, image_folder or hf; from DEST's suffix.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Config whose data is opened, in place of the run's, for images, hf."
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the cleaned split: a manifest, the kept positions, or the kept images."""
    from ogacli.cli.views.runs import trim_view
    from ogacli.config import load_config
    from ogacli.run.trim import trim
    from ogacli.verdict.budget import Budget

    terminal = Terminal(json=json, quiet=quiet)
    trimmed = trim(
        run,
        to,
        budget=None if budget is None else Budget.parse(budget, "--budget"),
        decisions=decisions,
        format=format,
        source=None if config is None else load_config(config).data,
        overwrite=overwrite,
        progress=terminal,
    )
    document = {
        "schema_version": 1,
        "path": str(trimmed.path),
        "format": trimmed.format,
        "fates": dict(trimmed.fates),
    }
    terminal.result(document, *trim_view(trimmed))


@command(order=100)
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN [RUN ...]", help="Run directories of one dataset.")
    ],
    json: Json = False,
) -> None:
    """Put detectors and runs side by side: agreement, time, and how good they are if the truth is known."""
    from ogacli.cli.views.runs import comparison_view
    from ogacli.run.compare import compare

    found = compare(runs)
    Terminal(json=json).result(found.document(), *comparison_view(found))


@command(order=110)
def gate(
    run: RunFolder,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML policy of limits.")] = None,
    max_flagged: Annotated[
        str | None, typer.Option(metavar="B", help="At most this share or count may be flagged.")
    ] = None,
    require_useful: Annotated[
        bool, typer.Option("--require-useful", help="Refuse a checkpoint that has memorised wrong labels.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run to compare with: it must not get worse.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write markdown.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare a run with limits; exit 1 when one is exceeded."""
    from ogacli.base.atomic import new_file
    from ogacli.cli.views.runs import gate_view
    from ogacli.run.gate import gate
    from ogacli.run.gate.formats import formats

    terminal = Terminal(json=json)
    found = gate(
        run, policy=policy, max_flagged=max_flagged, require_useful=require_useful, baseline=baseline
    )
    for format, file in (("junit", junit), ("markdown", markdown)):
        if file is not None:
            with new_file(file, overwrite=overwrite) as opened:
                opened.write(formats.get(format)(found).encode())
    terminal.result(found.document(), *gate_view(found))
    if not found.passed:
        raise typer.Exit(1)
