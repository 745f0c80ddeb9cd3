"""The report in GitHub-flavoured Markdown, short enough for a comment on a pull request."""

from ogacli.base import markdown, wording
from ogacli.run import reports
from ogacli.run.directory import Run
from ogacli.run.reports import cells, content, gains, sentences
from ogacli.run.reports.pictures import Shown
from ogacli.run.reports.pictures import shown as shown_previews
from ogacli.run.summary import Summary

_SAMPLES, _CLASSES, _QUARANTINED, _CELLS = 10, 8, 5, 10
_TEXT = 120
"""Characters that are shown of a text sample."""


@reports.formats.register
def render(run: Run) -> str:
    """The counts, the diagnosis, the input of the scan, and the most anomalous samples."""
    summary = run.summary
    blocks = [
        "## Outlier gradient analysis",
        f"**{sentences.headline(summary)}**; {wording.number(summary.quarantined)} could not be scored "
        f"(quarantined). Budget: {wording.budget(summary.budget)}.",
        *_diagnosis(summary),
        *_checkpoints(summary),
        *markdown.warnings(summary.diagnosis.warnings),
        "\n".join(f"- {name}: {markdown.code(value)}" for name, value in content.what(run).items()),
        _reasons(summary),
        *_benefit(summary),
        *_evaluation(summary),
        *_annotators(summary),
        *_classes(summary),
        *_flagged(run),
        *_cells(run),
        *_quarantined(run),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _diagnosis(summary: Summary) -> list[str]:
    found = summary.diagnosis
    lines = [f"{markdown.plain(line)}." for line in sentences.checkpoint(summary)]
    return [f"Checkpoint: **{found.verdict}**. {' '.join(lines)}"] if lines else []


def _checkpoints(summary: Summary) -> list[str]:
    if not summary.checkpoints:
        return []
    rows = [[markdown.code(name), *rest] for name, *rest in content.checkpoint_rows(summary)]
    return [markdown.table(content.CHECKPOINT_COLUMNS, rows, numeric=0)]


def _reasons(summary: Summary) -> str:
    found = sentences.reasons(summary)
    lines = [f"Reasons: {found}."] if found else []
    lines += [f"{line}." for line in map(markdown.plain, sentences.results(summary))]
    lines += [f"{line}." for line in map(markdown.plain, sentences.notes(summary))]
    return "\n".join(f"- {line}" for line in lines)


def _benefit(summary: Summary) -> list[str]:
    found = summary.benefit
    if found is None:
        return []
    rows = []
    for one in found.trials:
        chosen = (one.action, one.amount) == (found.action, found.amount)
        rows.append([f"**{cell}**" if chosen else cell for cell in gains.row(one)])
    return [
        "### How much to leave out",
        " ".join(f"{markdown.plain(line)}." for line in gains.sentences(found)),
        markdown.table(list(gains.HEADER), rows, numeric=len(gains.HEADER) - 1),
    ]


def _evaluation(summary: Summary) -> list[str]:
    if not (evaluations := content.evaluations(summary)):
        return []
    head = ["against the truth", *content.EVALUATED.values()]
    rows = [[markdown.code(name), *content.figures(one)] for name, one in evaluations.items()]
    return ["### Compared with the truth", markdown.table(head, rows, numeric=len(content.EVALUATED))]


def _annotators(summary: Summary) -> list[str]:
    if not summary.annotators:
        return []
    rows = [
        [
            markdown.code(one.name),
            wording.number(one.labels),
            "" if one.quality is None else wording.percent(one.quality),
        ]
        for one in summary.annotators[:_CLASSES]
    ]
    rest = len(summary.annotators) - len(rows)
    more = [f"and {wording.number(rest)} better ones"] if rest > 0 else []
    return ["### Annotators", markdown.table(["annotator", "labels", "right"], rows, numeric=2), *more]


def _classes(summary: Summary) -> list[str]:
    shares = content.class_shares(summary, _CLASSES)
    if not shares:
        return []
    rows = [
        [
            markdown.code(one.name),
            wording.percent(one.share),
            wording.number(one.flagged),
            wording.number(one.scored),
        ]
        for one in shares
    ]
    rest = sum(one.samples > 0 for one in summary.classes) - len(shares)
    more = [f"and {wording.number(rest)} more classes"] if rest > 0 else []
    return [
        "### Most flagged classes",
        markdown.table(["given label", "share", "flagged", "scored"], rows, numeric=3),
        *more,
    ]


def _flagged(run: Run) -> list[str]:
    shown = content.samples(content.flagged_rows(run, _SAMPLES))
    if not shown:
        return []
    truth = any(one.truth is not None for one in shown)
    several = run.summary.consensus is not None
    looks = shown_previews(run.previews, [one.position for one in shown], _TEXT)
    texts = any(look.text is not None for look in looks.values())
    head = [
        "sample",
        *["text"] * texts,
        "given label",
        "suggested",
        *["truth"] * truth,
        "reason",
        *["flagged by"] * several,
        "rank",
        "score",
    ]
    rows = [
        [
            markdown.code(one.id),
            *[markdown.code(looks.get(one.position, Shown()).text or "")] * texts,
            markdown.code(one.label),
            markdown.code(one.suggested_label or ""),
            *[markdown.code(one.truth or "")] * truth,
            markdown.plain(one.reason),
            *["" if one.agreement is None else wording.percent(one.agreement)] * several,
            wording.number(one.rank),
            "" if one.score is None else wording.decimal(one.score),
        ]
        for one in shown
    ]
    title = f"### Most anomalous of the {wording.number(run.summary.flagged)} flagged samples"
    return [
        title,
        markdown.table(head, rows, numeric=2),
        "A higher score is more anomalous; rank 1 is the highest.",
    ]


def _cells(run: Run) -> list[str]:
    summary = run.summary
    each = cells.rows(summary, _CLASSES)
    if not each:
        return []
    single = [
        [
            markdown.code(one.sample),
            markdown.code(one.cell),
            markdown.code(one.given),
            markdown.code(one.suggested),
            wording.percent(one.probability),
            markdown.plain(one.reason),
        ]
        for one in cells.first_cells(run, _CELLS)
    ]
    named = [[markdown.code(name), *rest] for name, *rest in each]
    return [
        "### Parts of labels that are more probably wrong than right",
        markdown.table(cells.header(summary), named, numeric=0),
        markdown.table(cells.COLUMNS, single, numeric=0),
    ]


def _quarantined(run: Run) -> list[str]:
    shown = content.samples(content.quarantined_rows(run, _QUARANTINED))
    if not shown:
        return []
    lines = [f"- {markdown.code(one.id)}: {markdown.code(one.reason)}" for one in shown]
    rest = run.summary.quarantined - len(shown)
    if rest > 0:
        lines.append(f"- and {wording.number(rest)} more")
    return ["### Quarantined: could not be scored", "\n".join(lines)]
