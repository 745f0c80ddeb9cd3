"""Commands that read a run directory: ``report``, ``trim`` and ``compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogacli.cli.arguments import BudgetText, Json, LogJson, Overwrite, Quiet, RunFolder
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal

if TYPE_CHECKING:
    from ogacli.run.directory import Run


@command(order=60)
def report(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="html, md or json.")] = "html",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write; default: RUN/report.html for html, else stdout."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write figures (PNG and SVG) there instead of a report."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the report of a run, or its figures."""
    from ogacli.run.directory import Run
    from ogacli.run.reports import report, write_report

    opened = Run.open(run)
    if figures is not None:
        _figures(opened, figures, Terminal(json=json), overwrite=overwrite)
        return
    if output is None and format == "html":
        output, overwrite = opened.path / "report.html", True  # made from the run: nothing is lost
    if output is None:
        text = report(opened, format)
        if json and format != "json":
            Terminal(json=True).result({"schema_version": 1, "format": format, "text": text})
        else:
            print(text, end="")
        return
    write_report(opened, format, output, overwrite=overwrite)
    Terminal(json=json).result({"schema_version": 1, "report": str(output)}, str(output))


def _figures(run: "Run", folder: Path, terminal: Terminal, *, overwrite: bool) -> None:
    from ogacli.run.reports.figures import write_figures

    found = write_figures(run, folder, overwrite=overwrite)
    for name, reason in found.left_out.items():
        terminal.note(f"no figure {name}: {reason}")
    files = [str(one) for one in found.files]
    document = {"schema_version": 1, "figures": files, "left_out": dict(found.left_out)}
    terminal.result(document, *files)


@command(order=70)
def trim(
    run: RunFolder,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DEST", help="File or folder for the rows that stay.")
    ] = None,
    budget: BudgetText = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What `oga review` exports, or a table: id, action (keep|drop|relabel), label.",
        ),
    ] = None,
    relabel: Annotated[
        bool,
        typer.Option("--relabel", help="Relabel where the suggested label is probable; drop the others."),
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Drop nothing; add a column `weight` for the training.")
    ] = False,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Keep one of each group of near-duplicates.")
    ] = False,
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Drop samples that the dataset `against` has as well.")
    ] = False,
    keep_quarantined: Annotated[
        bool, typer.Option("--keep-quarantined", help="Keep samples that could not be scored.")
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the fate of every sample: csv, jsonl or parquet."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links in place of copies of image files.")
    ] = False,
    spreadsheet_safe: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe", help="Put ' before texts of a csv manifest that spreadsheets run."
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            help="csv, tsv, jsonl, parquet, hf, image_folder, webdataset, coco, yolo, npz, npy, indices; for "
            "other tools cleanlab, fiftyone, label_studio, argilla. "
            "Default: by suffix, or that of the source."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Config whose data section is opened in place of the run's."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Write the cleaned dataset in its own format, and a manifest."""
    from ogacli.cli.views.runs import trim_view
    from ogacli.run.trim import trim
    from ogacli.verdict.budget import Budget

    terminal = Terminal(json=json, quiet=quiet, log_json=log_json)
    amount = None if budget is None else Budget.parse(budget, "--budget")
    source = None
    if config is not None:
        from ogacli.config import load_config  # imports torch

        source = load_config(config).data
    trimmed = trim(
        run,
        to,
        budget=amount,
        decisions=decisions,
        relabel=relabel,
        weights=weights,
        near_duplicates=near_duplicates,
        leaks=leaks,
        keep_quarantined=keep_quarantined,
        manifest=manifest,
        link=link,
        spreadsheet_safe=spreadsheet_safe,
        format=format,
        source=source,
        overwrite=overwrite,
        progress=terminal,
    )
    if trimmed.not_compared is not None:
        terminal.note(f"not compared with the dataset that was scanned: {trimmed.not_compared}")
    document = {
        "path": None if trimmed.path is None else str(trimmed.path),
        "format": trimmed.format,
        "manifest": None if trimmed.manifest is None else str(trimmed.manifest),
        "fates": dict(trimmed.fates),
        "notes": list(trimmed.notes),
        "not_compared": trimmed.not_compared,
    }
    terminal.result({"schema_version": 1} | document, *trim_view(trimmed))


@command(order=100)
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN [RUN ...]", help="Run directories of one dataset.")
    ],
    json: Json = False,
) -> None:
    """Compare detectors and runs: agreement, time, quality."""
    from ogacli.cli.views.runs import comparison_view
    from ogacli.run.compare import compare

    comparison = compare(runs)
    Terminal(json=json).result(comparison.document(), *comparison_view(comparison))
