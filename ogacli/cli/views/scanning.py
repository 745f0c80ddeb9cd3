"""What the commands that take a config print."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ogacli.base.wording import listed, percent
from ogacli.cli.terminal import aligned, figure, shown, table, wrapped
from ogacli.cli.views.runs import evaluation_cells
from ogacli.errors import CheckpointError
from ogacli.run.reports import gains, sentences
from ogacli.run.reports.content import CHECKPOINT_COLUMNS, checkpoint_rows, class_shares, evaluations
from ogacli.verdict.budget import Budget

if TYPE_CHECKING:
    from ogacli.base.tables.columns import Columns
    from ogacli.models.sources import ModelSource
    from ogacli.models.training.folds import CrossValidation
    from ogacli.models.training.train import Training
    from ogacli.run.directory import Run
    from ogacli.run.summary import Summary
    from ogacli.scan.attribution.result import Attribution
    from ogacli.scan.plan import Plan
    from ogacli.scan.retraining.arms import Difference, Verification
    from ogacli.verdict.benefit import Benefit

_CLASSES = 12
"""Classes in the table of a scan."""
_FEW = 8
"""Up to so many checkpoints are listed where their verdicts differ; more with ``--verbose``."""


def training_view(training: Training | CrossValidation, config: Path, source: ModelSource) -> list[Any]:
    """Loss and accuracy of each epoch or fold, and the command to run next.

    Args:
        training: The completed training.
        config: The config file.
        source: The config's model.
    """
    from ogacli.models.training.folds import CrossValidation

    if isinstance(training, CrossValidation):
        return _folds_view(training, config)
    rows = [[str(e.number), f"{e.loss:.4f}", _share(e.accuracy)] for e in training.epochs]
    command = ["oga", "scan", str(config)]
    try:
        configured = source.checkpoint_files()
    except CheckpointError:  # the pattern matches no file yet, or files of another training
        configured = ()
    if not set(configured) & {str(path) for path in training.checkpoints}:
        several = len(training.checkpoints) > 1
        written = training.folder / "epoch-*.safetensors" if several else training.checkpoints[-1]
        command += ["--set", f"model.checkpoint={shown(written)}"]
    skipped = f", {len(training.skipped):,} could not be read" if training.skipped else ""
    return [
        _filled(["epoch", "loss", "accuracy"], rows),
        "",
        *columns_view(training.columns),
        f"[bold]trained on {training.samples:,} samples[/]{skipped}",
        *aligned([("checkpoints", training.folder), ("next", shlex.join(command))]),
    ]


def _folds_view(training: CrossValidation, config: Path) -> list[Any]:
    rows = []
    for fold in training.folds:
        last = fold.epochs[-1]
        shares = [_share(last.accuracy), _share(fold.accuracy)]
        rows.append([str(fold.number), f"{fold.samples:,}", f"{last.loss:.4f}", *shares])
    command = ["oga", "scan", str(config), "--folds", str(len(training.folds))]
    return [
        _filled(["fold", "trained on", "loss", "accuracy", "held-out accuracy"], rows),
        "",
        *columns_view(training.columns),
        *([f"{len(training.skipped):,} samples could not be read"] if training.skipped else []),
        *aligned([("checkpoints", training.folder), ("next", shlex.join(command))]),
    ]


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without its empty columns."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])


def plan_view(plan: Plan) -> list[Any]:
    """What a scan would do."""
    return [
        f"[bold]would scan {plan.samples:,} samples[/] of {plan.classes} classes on {plan.device}, "
        f"{plan.batch_size:,} per batch",
        f"  {', '.join(plan.detectors)} on {sum(plan.parameters.values()):,} gradient coordinates:",
        *_layers(plan.parameters),
        *columns_view(plan.columns),
        f"  estimated {plan.seconds:,.0f} s; output {escape(shown(plan.output))}",
        *([f"  {plan.trainings:,} trainings for `budget: benefit` would follow"] if plan.trainings else []),
    ]


def columns_view(columns: Columns | None) -> list[str]:
    """The columns of a table that are features, and those that are left out."""
    return [] if columns is None else [line for text in columns.lines() for line in wrapped(text)]


def _layers(parameters: Mapping[str, int]) -> list[str]:
    return [f"    {escape(name)} ({size:,})" for name, size in parameters.items()]


def scan_view(run: Run, *, verbose: bool = False) -> list[Any]:
    """The result of a scan, and the command to run next.

    Args:
        run: What the scan wrote.
        verbose: Also list the gradient layers.
    """
    from ogacli.run.trim import destination_for

    summary = run.summary
    lost = f"; {summary.quarantined:,} could not be scored (quarantined)" if summary.quarantined else ""
    parts: list[Any] = [
        f"[bold]{escape(sentences.headline(summary))}[/]{lost}",
        *wrapped(_looked_at(summary)),
    ]
    parts += columns_view(summary.columns)
    if verbose:
        parts += _layers(run.provenance["parameters"])
    if reasons := sentences.reasons(summary):
        parts.append(f"  {reasons}")
    parts += [line for sentence in sentences.results(summary) for line in wrapped(f"{sentence}.")]
    if summary.benefit is not None:
        parts += benefit_view(summary.benefit)
    parts += _checkpoint_lines(summary)
    differ = len({one.diagnosis.verdict for one in summary.checkpoints}) > 1
    if verbose or (differ and len(summary.checkpoints) <= _FEW):
        parts += _checkpoints(summary)
    parts += [line for note in sentences.notes(summary) for line in wrapped(f"Note: {note}.")]
    if summary.classes:
        parts += ["", _class_table(run)]
    if summary.evaluation:
        parts += ["", evaluation_table(run)]
    files = [("report", run.path / "report.html"), ("scores", run.path / "scores.parquet")]
    review = [("review", f"oga review {shlex.quote(shown(run.path))}")] if summary.flagged else []
    options = _trim_options(summary)
    own = destination_for(run)
    other = "--manifest fates.csv" if {"--relabel", "--weights"} & {*options} else "--to kept.npy"
    target = f"--to {own}" if own else other
    following = " ".join(["oga trim", shlex.quote(shown(run.path)), *options, target])
    return [*parts, "", *aligned([*files, *review, ("next", following)])]


def _trim_options(summary: Summary) -> list[str]:
    """The options of `oga trim` that follow from what was found."""
    actions = {"trim": [], "relabel": ["--relabel"], "weight": ["--weights"]}
    return [
        *([] if summary.benefit is None else actions[summary.benefit.action]),
        *(["--near-duplicates"] if summary.near_duplicates and summary.near_duplicates.samples else []),
        *(["--leaks"] if summary.leaks else []),
        *(["--decisions decisions.json"] if Budget.parse(summary.budget).review else []),
    ]


def _checkpoint_lines(summary: Summary) -> list[str]:
    """Whether the checkpoint is suited to find wrong labels, why, and what to do if it is not."""
    verdict = summary.diagnosis.verdict
    if verdict is None:
        return []
    colours = {"useful": "green", "memorised": "bold red"}
    title = f"  Checkpoint: [{colours.get(verdict, 'yellow')}]{verdict}[/]."
    return [title, *(line for text in sentences.checkpoint(summary) for line in wrapped(f"{text}."))]


def _checkpoints(summary: Summary) -> list[Any]:
    """The diagnosis of each of several checkpoints."""
    if not summary.checkpoints:
        return []
    return ["", table(list(CHECKPOINT_COLUMNS), [list(row) for row in checkpoint_rows(summary)])]


def _looked_at(summary: Summary) -> str:
    """Which detector decides, what it looks at, and which stand beside it."""
    from ogacli.detectors import DEFAULT, OF_PREDICTIONS

    first, *others = summary.detectors
    gradients = f"the gradient of {summary.parameters:,} coordinates"
    if first in OF_PREDICTIONS:
        looked = "predicted probabilities and nearest neighbours" if first == DEFAULT else "the predictions"
        text = f"{first} decides, by {looked}"
        return f"{text}; {listed(others, 6)} beside it, by {gradients}" if others else text
    return f"{first} decides{f'; {listed(others, 6)} beside it' if others else ''}, by {gradients}"


def benefit_view(benefit: Benefit) -> list[Any]:
    """What was tried out for a budget ``benefit``, and what was chosen."""
    lines = [line for sentence in gains.sentences(benefit) for line in wrapped(sentence)]
    grid = table([*gains.HEADER, ""], [])
    for one in benefit.trials:
        chosen = (one.action, one.amount) == (benefit.action, benefit.amount)
        grid.add_row(*gains.row(one), "chosen" if chosen else "", style="bold" if chosen else None)
    return [*lines, "", grid, ""]


def _class_table(run: Run) -> Table:
    """The classes with the largest flagged share."""
    shown = class_shares(run.summary, _CLASSES)
    rows = [[one.name, percent(one.share), f"{one.flagged:,}", f"{one.scored:,}"] for one in shown]
    rest = sum(one.samples > 0 for one in run.summary.classes) - len(shown)
    if rest > 0:
        rows.append([f"and {rest:,} more classes", "", "", ""])
    return table(["given label", "share", "flagged", "scored"], rows)


def evaluation_table(run: Run) -> Table:
    """How well each detector finds the wrong labels, and their wrong cells, where the true ones are known."""
    rows = [[name, *evaluation_cells(e)] for name, e in evaluations(run.summary).items()]
    return table(["against the truth", "AUROC", "AP", "precision", "F1"], rows)


def verification_view(verification: Verification) -> list[Any]:
    """Test accuracy after training on each set of samples, and whether each action helped."""
    seeds = len(verification.arms[0].accuracies)
    gaps = {gap.arm: gap for gap in verification.differences if gap.against == "all"}
    rows = []
    for arm in verification.arms:
        gap = gaps.get(arm.name)
        interval = _interval(gap) if gap else ""
        spread = f"{percent(arm.mean)} ± {100 * statistics.stdev(arm.accuracies):.1f}"
        rows.append([arm.name, f"{arm.samples:,}", spread, interval])
    header = ["trained on", "samples", "accuracy", "minus all [95 %]"]
    other = [one for one in verification.differences if one.against != "all"]
    return [
        f"[bold]Retrained with {seeds} seeds: accuracy on {verification.test:,} test samples[/]",
        table(header, rows),
        *(escape(f"{one.arm} minus {one.against}: {_interval(one)}") for one in other),
        "",
        *(f"[bold]{_ACTIONS[arm]}: {verdict}[/]" for arm, verdict in verification.verdicts.items()),
        *wrapped(_judged_by(verification)),
    ]


_ACTIONS = {"trimmed": "trimming", "relabelled": "relabelling", "weighted": "weighting"}


def _interval(gap: Difference) -> str:
    return f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"


def _judged_by(verification: Verification) -> str:
    """Whose labels the accuracies are of, and whether others would be needed."""
    parts = verification.parts
    nested = "" if not parts else "A part of the samples was held out and the scan repeated without it. "
    if parts > 1:
        nested = f"{parts} parts of the samples were held out in turn, and the scan repeated without each. "
    if verification.clean_test_needed:
        return (
            f"{nested}Judged by the given labels, wrong ones among them: only `verify.test` with right "
            "labels can tell whether the networks became better."
        )
    whose = "true labels" if verification.labels == "true" else "labels of `verify.test`, taken to be right"
    return f"{nested}Judged by the {whose}."


def attribution_view(attribution: Attribution) -> list[Any]:
    """What was compared, how good the result is where that is known, and where it was written."""
    groups = f"{len(attribution.groups):,} groups of " if attribution.groups else ""
    quarantined = f", {attribution.quarantined:,} quarantined" if attribution.quarantined else ""
    quality = attribution.evaluation.items()
    rows = [[name, figure(one["auc"]), figure(one["recall"])] for name, one in quality]
    files = [
        ("report", attribution.folder / "report.html"),
        ("attributions", attribution.folder / "attributions.parquet"),
    ]
    return [
        f"[bold]{attribution.queries:,} queries compared with {groups}{attribution.training:,} "
        f"training samples[/]{quarantined}",
        f"  on {attribution.parameters:,} gradient coordinates",
        *(f"  note: {escape(note)}" for note in attribution.notes),
        "",
        table(["samples of the query's class", "AUC", "recall"], rows),
        "",
        *aligned(files),
    ]
