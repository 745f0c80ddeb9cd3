"""The commands, their options and exit codes; no maths.

Exit codes: 0 done, 1 a gate that did not pass, 2 a mistake (told) or a bug (traceback), 130 interrupted.
Heavy imports stay inside the commands, so that ``oga --help`` answers at once.
"""

import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ogacli._version import __version__
from ogacli.cli.terminal import Terminal
from ogacli.errors import OgaError

app = typer.Typer(
    name="oga",
    help="Find the training samples that hurt a model: outliers among the per-sample gradients of its loss.",
    epilog="Start with `oga demo`, then `oga init`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


def main() -> None:
    """Run the command line; the entry point of ``oga`` and ``python -m ogacli``."""
    try:
        app()
    except OgaError as error:
        Terminal().error(str(error))
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        print("This is a bug in oga: please report it with the lines above.", file=sys.stderr)
        sys.exit(2)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def oga(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Clean training data by Outlier Gradient Analysis."""


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where to write.")] = Path("runs/digits"),
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train, scan, trim and verify on digits with flipped labels; under a minute."""
    from ogacli.cli.demo import demo
    from ogacli.cli.views import demo_view

    terminal = Terminal(json=json, quiet=quiet)
    result = demo(output, overwrite=overwrite, progress=terminal)
    terminal.result(result.document(), *demo_view(result))


@app.command()
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
    from ogacli.base.atomic import new_file
    from ogacli.cli.views import starter_view
    from ogacli.config.starter import starter

    found = starter(data, kind, output.parent)
    with new_file(output, overwrite=overwrite) as file:
        file.write(found.text.encode())
    document = {
        "schema_version": 1,
        "config": str(output),
        "kind": found.kind,
        "label": found.columns.get("label"),
        "columns": found.columns,
        "open": list(found.open),
    }
    Terminal(json=json).result(document, *starter_view(found, output))


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="Also plan its scan.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Tell what this machine can do and, with a config, what its scan would cost."""
    from ogacli.cli.doctor import examine
    from ogacli.cli.views import doctor_view, plan_view

    checkup = examine()
    document, parts = checkup.document(), doctor_view(checkup)
    if config is not None:
        from ogacli.config import load_config
        from ogacli.scan import plan

        planned = plan(load_config(config, overrides or ()), overwrite=True)
        document["plan"] = planned.document()
        parts += ["", *plan_view(planned)]
    Terminal(json=json).result(document, *parts)


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    folds: FoldCount = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a reference model on the config's data: one checkpoint an epoch, or one a fold."""
    from ogacli.cli.views import folds_view, training_view
    from ogacli.config import load_config
    from ogacli.models.training.folds import train_folds
    from ogacli.models.training.train import train

    terminal = Terminal(json=json, quiet=quiet)
    changes = [] if folds is None else [f"train.folds={folds}"]
    loaded = load_config(config, [*(overrides or ()), *changes])
    if loaded.train.folds is not None:
        found = train_folds(loaded, overwrite=overwrite, progress=terminal)
        terminal.result(found.document(), *folds_view(found, config))
        return
    training = train(loaded, overwrite=overwrite, progress=terminal)
    terminal.result(training.document(), *training_view(training, config, loaded.model))


@app.command()
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
    from ogacli.cli.views import plan_view, scan_view
    from ogacli.config import load_config
    from ogacli.models.training.folds import folded, rehearsed
    from ogacli.scan import check_output, output_folder, plan, scan

    terminal = Terminal(json=json, quiet=quiet, verbose=verbose)
    loaded = load_config(config, overrides or ())
    if dry_run:
        known = nullcontext(loaded) if folds is None else rehearsed(loaded, folds, overwrite=overwrite)
        with known as rehearsal:
            found = plan(rehearsal, output=output, overwrite=overwrite)
        terminal.result(found.document(), *plan_view(found))
        if folds is not None:
            terminal.note("folds that are not there yet would be trained first, which takes its own time")
        return
    if folds is not None:
        check_output(output_folder(loaded, output), overwrite=overwrite)  # a training may take hours
        loaded = folded(loaded, folds, overwrite=overwrite, progress=terminal)
    try:
        run = scan(loaded, output=output, overwrite=overwrite, resume=resume, progress=terminal)
    except KeyboardInterrupt:
        terminal.note("interrupted; the same command with --resume goes on from here")
        raise
    for warning in run.summary.diagnosis.warnings:
        terminal.warn(warning)
    document = run.summary.model_dump(mode="json") | {"run": str(run.path)}
    terminal.result(document, *scan_view(run, verbose=verbose))


@app.command()
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
    from ogacli.run.reports import render, write_report

    opened = Run.open(run)
    if output is None and format == "html":
        output, overwrite = opened.path / "report.html", True  # it is derived from the run: nothing is lost
    if output is None:
        text = render(opened, format)
        if json and format != "json":
            Terminal(json=True).result({"schema_version": 1, "format": format, "text": text})
        else:
            print(text, end="")
        return
    write_report(opened, format, output, overwrite=overwrite)
    Terminal(json=json).result({"schema_version": 1, "report": str(output)}, str(output))


@app.command()
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
    from ogacli.cli.views import trim_view
    from ogacli.run.directory import Run
    from ogacli.run.trim import trim
    from ogacli.verdict.budget import Budget

    terminal = Terminal(json=json, quiet=quiet)
    trimmed = trim(
        Run.open(run),
        to,
        budget=None if budget is None else Budget.parse(budget, "--budget"),
        decisions=decisions,
        format=format,
        config=config,
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


@app.command()
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
    from ogacli.cli.views import verification_view
    from ogacli.config import load_config
    from ogacli.run.directory import Run
    from ogacli.scan import output_folder
    from ogacli.scan.verify import verify
    from ogacli.verdict.budget import Budget

    terminal = Terminal(json=json, quiet=quiet)
    loaded = load_config(config, overrides or ())
    found = verify(
        loaded,
        Run.open(output_folder(loaded, run)),
        budget=None if budget is None else Budget.parse(budget, "--budget"),
        progress=terminal,
    )
    terminal.result(found.document(), *verification_view(found))


@app.command()
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
    """Find the training samples, or the group of them, that each query owes its prediction to."""
    from ogacli.cli.views import attribution_view
    from ogacli.config import load_config
    from ogacli.scan.attribution import attribute

    terminal = Terminal(json=json, quiet=quiet)
    loaded = load_config(config, overrides or ())
    found = attribute(loaded, output=output, overwrite=overwrite, progress=terminal)
    terminal.result(found.document(), *attribution_view(found))


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN [RUN ...]", help="Run directories of one dataset.")
    ],
    json: Json = False,
) -> None:
    """Put detectors and runs side by side: agreement, time, and how good they are if the truth is known."""
    from ogacli.cli.views import comparison_view
    from ogacli.run.compare import compare
    from ogacli.run.directory import Run

    found = compare([Run.open(run) for run in runs])
    Terminal(json=json).result(found.document(), *comparison_view(found))


@app.command()
def gate(
    run: RunFolder,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML policy of limits.")] = None,
    max_flagged: Annotated[
        str | None, typer.Option(metavar="B", help="At most this share or count may be flagged.")
    ] = None,
    require_useful: Annotated[
        bool, typer.Option("--require-useful", help="Refuse a checkpoint that knows wrong labels by heart.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run to compare with: it must not get worse.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write markdown.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Hold a run against limits; exit 1 when one is exceeded."""
    from ogacli.base.atomic import new_file
    from ogacli.cli.views import gate_view
    from ogacli.run.directory import Run
    from ogacli.run.gate import gate, load_policy
    from ogacli.run.gate.junit import junit_xml

    terminal = Terminal(json=json)
    found = gate(
        Run.open(run),
        load_policy(policy, max_flagged=max_flagged, require_useful=require_useful),
        baseline=None if baseline is None else Run.open(baseline),
    )
    for file, text in ((junit, junit_xml(found)), (markdown, found.markdown())):
        if file is not None:
            with new_file(file, overwrite=overwrite) as opened:
                opened.write(text.encode())
    terminal.result(found.document(), *gate_view(found))
    if not found.passed:
        raise typer.Exit(1)
