"""What a run found, in sentences without full stop, the same in every report and on the terminal.

In: a summary. Out: sentences, each of which can be understood by itself. No other module words these results,
so that all outputs agree to the digit.
"""

from collections.abc import Callable, Sequence

from ogacli.base import wording
from ogacli.run.summary import Summary
from ogacli.verdict.budget import Budget
from ogacli.verdict.precision import ExpectedPrecision

LABEL_LENGTH, TEXT_LENGTH = 48, 320
_STABLE = 0.8
"""From this split-half stability on, more trees change little."""
_LOOK = "worth a look, which `budget: {review: 100}` prepares"
_MUCH = 0.3
"""From this flagged share on it is said why so many samples are, where labels have parts."""
_LABELLED = 10
"""Labels of an annotator from which on the right share of them is told."""
_ALL = ", flagged or not,"
"""What a line on all samples says, as most lines are on the flagged ones."""


def headline(summary: Summary) -> str:
    """``90 of 1,797 samples flagged (5.0%)``."""
    share = f" ({wording.percent(flagged_share(summary))})" if summary.scored else ""
    scored = wording.number(summary.scored)
    return f"{wording.number(summary.flagged)} of {scored} {_noun(summary.scored)} flagged{share}"


def flagged_share(summary: Summary) -> float:
    """The flagged share of the scored samples."""
    return summary.flagged / summary.scored if summary.scored else 0.0


def checkpoint(summary: Summary) -> list[str]:
    """How far the scores can be trusted, why, and what to do."""
    found = summary.diagnosis
    if found.verdict is None:
        return []
    lines = [_capital(found.reason)]
    if found.verdict != "useful" and found.advice:
        lines.append(f"What to do: {found.advice}")
    if found.residual is not None:
        median, quarter = 1 - found.residual.q50, 1 - found.residual.q75
        lines.append(
            f"The model gives the given label a probability of {wording.percent(median)} in the median; "
            f"for a quarter of the samples it is {wording.percent(quarter)} or less"
        )
    return lines


def results(summary: Summary) -> list[str]:
    """What was found, beside the counts."""
    tellers: Sequence[Callable[[Summary], list[str]]] = (
        _to_be_looked_at,
        _estimate,
        _expected,
        _below_half,
        cells,
        _entities,
        _annotators,
        _held_back,
        _duplicates,
        _near_duplicates,
        _leaks,
        _far,
        _pictures,
        _consensus,
        _stability,
        _several_checkpoints,
        _rescored,
        _class_order,
    )
    return [line for tell in tellers for line in tell(summary)]


def notes(summary: Summary) -> list[str]:
    """Notes on data and gradients, cut to length."""
    return [wording.cut(_capital(note), TEXT_LENGTH) for note in summary.notes]


def reasons(summary: Summary) -> str:
    """``3 mislabelled, 5 atypical``; empty where nothing is flagged."""
    return ", ".join(f"{wording.number(count)} {name}" for name, count in summary.reasons.items() if count)


def _estimate(summary: Summary) -> list[str]:
    found = summary.estimate
    if found is None:
        return []
    between = f"between {wording.percent(found.low)} and {wording.percent(found.high)}"
    if found.share is None:
        reason = "" if summary.diagnosis.verdict == "uncertain" else f": {found.reason}"
        return [f"How many labels are wrong cannot be told; it is {between}{reason}"]
    if found.count(summary.scored) == 0:
        return [f"No wrong labels found, nothing to trim; at most {wording.percent(found.high)} are wrong"]
    return [f"About {wording.percent(found.share)} of all labels are estimated to be wrong ({between})"]


def _to_be_looked_at(summary: Summary) -> list[str]:
    if not summary.flagged or not Budget.parse(summary.budget).review:
        return []
    return ["They are flagged to be looked at: without decisions, `oga trim` drops none of them"]


def _expected(summary: Summary) -> list[str]:
    """How many of the first samples of the ranking have a wrong label, or may have one."""
    found, estimate = summary.expected, summary.estimate
    if not found or estimate is None or not round(max(one.high for one in found)):
        return []
    if estimate.share:
        told = [f"{round(one.wrong or 0):,} of {_first(one)} ({_between(one)})" for one in found]
        return [f"Expected to have a wrong label, of the most anomalous samples: {', '.join(told)}"]
    known = [one for one in found if round(one.low) or round(one.high) < one.first]
    told = [f"{_between(one)} of {_first(one)}" for one in known]
    if not told:
        return [f"How many of the most anomalous samples have a wrong label cannot be told: {_LOOK}"]
    return [f"Of the most anomalous samples {', '.join(told)} have a wrong label: {_LOOK}"]


def _first(one: ExpectedPrecision) -> str:
    return f"the first {wording.number(one.first)}"


def _between(one: ExpectedPrecision) -> str:
    return f"{wording.number(round(one.low))} to {wording.number(round(one.high))}"


def _below_half(summary: Summary) -> list[str]:
    if not summary.below_half or summary.cut is None:
        return []
    line = f"{wording.percent(summary.below_half)} of the flagged labels are more probably right than wrong"
    return [f"Warning: {line}; a smaller budget flags fewer of them" if summary.below_half > 0.5 else line]


def cells(summary: Summary) -> list[str]:
    """How many cells are more probably wrong than right, and for which classes a mistake is systematic."""
    if not summary.cells:
        return []
    reasons = dict.fromkeys(reason for one in summary.cells for reason in one.wrong)
    counts = {reason: sum(one.wrong.get(reason, 0) for one in summary.cells) for reason in reasons}
    told = ", ".join(f"{reason} {wording.number(count)}" for reason, count in counts.items())
    lines = [f"Parts of labels that are more probably wrong than right: {told or 'none'}"]
    for reason in reasons:
        names = [f"{one.name!r} {one.wrong[reason]:,}" for one in summary.cells if one.often == reason]
        if names:
            shown = wording.cut(wording.listed(names, 5), TEXT_LENGTH)
            lines.append(f"Systematically {reason}, far more often than other classes: {shown}")
    if flagged_share(summary) > _MUCH:
        lines.append(
            "A sample is flagged where any part of its label may be wrong: `budget: 0.1` drops fewer, "
            "and decisions of a review correct single parts"
        )
    return lines


def _entities(summary: Summary) -> list[str]:
    told = [
        f"{one.name!r} {wording.number(one.doubted)} of {wording.number(one.entities)}"
        + (f" and {wording.number(one.missing)} new" if one.missing else "")
        for one in summary.entities
    ]
    shown = wording.cut(wording.listed(told, 12), TEXT_LENGTH)
    return [f"Entities that the suggested tags would change: {shown}"] if told else []


def _annotators(summary: Summary) -> list[str]:
    if not summary.annotators:
        return []
    told = [
        f"{wording.percent(one.quality)} of {wording.cut(one.name, 40)!r}"
        for one in summary.annotators
        if one.quality is not None and one.labels >= _LABELLED
    ]
    again = "`ask_again.parquet` in the run lists the samples to ask annotators about again"
    return [*([f"Right labels by annotator, lowest first: {wording.listed(told)}"] if told else []), again]


def _held_back(summary: Summary) -> list[str]:
    if not summary.held_back:
        return []
    verb = "is" if summary.held_back == 1 else "are"
    classes = [f"{one.name!r} {one.held_back:,}" for one in summary.classes if one.held_back]
    return [
        f"{wording.number(summary.held_back)} more {_noun(summary.held_back)} {verb} within the budget but "
        f"not flagged, to protect their classes ({wording.cut(wording.listed(classes, 5), TEXT_LENGTH)}); "
        "`protect: off` flags them too"
    ]


def _duplicates(summary: Summary) -> list[str]:
    if not summary.duplicates:
        return []
    return [f"{_samples(summary.duplicates, 'has', 'have')} the same inputs as a sample with another label"]


def _near_duplicates(summary: Summary) -> list[str]:
    found = summary.near_duplicates
    if found is None or not found.samples:
        return []
    groups = "1 group" if found.groups == 1 else f"{wording.number(found.groups)} groups"
    line = (
        f"{_samples(found.samples, 'is', 'are', _ALL)} near-duplicates of another one, in {groups}; column "
        "`near_duplicate_of` names the one to keep, and `oga trim --near-duplicates` leaves out the others"
    )
    if not found.conflicts:
        return [line]
    verb = "has" if found.conflicts == 1 else "have"
    return [line, f"{wording.number(found.conflicts)} of them {verb} another label than the one to keep"]


def _leaks(summary: Summary) -> list[str]:
    if not summary.leaks:
        return []
    return [
        f"Warning: {_samples(summary.leaks, 'is', 'are', _ALL)} in the dataset `against` as well, or "
        "nearly so; column `leaks` names the sample there, and `oga trim --leaks` leaves them out"
    ]


def _far(summary: Summary) -> list[str]:
    if not summary.far:
        return []
    return [
        f"{_samples(summary.far, 'is', 'are', _ALL)} far from all others of the class; column `far` "
        "tells how far"
    ]


def _pictures(summary: Summary) -> list[str]:
    found = [f"{count:,} {word}" for word, count in summary.pictures.items() if count]
    if not found:
        return []
    total = sum(summary.pictures.values())
    noun, verb = ("picture", "is") if total == 1 else ("pictures", "are")
    return [
        f"{wording.number(total)} {noun}, flagged or not, {verb} poor: {wording.listed(found)}; "
        f"column `picture` of scores.parquet tells which"
    ]


def _consensus(summary: Summary) -> list[str]:
    found = summary.consensus
    if not summary.flagged or found is None:
        return []
    who = "Both" if found.detectors == 2 else f"All {found.detectors}"
    noun = "sample" if found.all == 1 else "samples"
    return [
        f"{who} detectors flag the same {wording.number(found.all)} {noun}; at least one of them flags "
        f"{wording.number(found.any)}"
    ]


def _stability(summary: Summary) -> list[str]:
    name = summary.detectors[0]
    overlap = summary.overlap.get(name)
    if overlap is None:
        return []
    more = "; `trees: auto` grows more trees, which agree better" if overlap < _STABLE else ""
    return [
        f"The trees of {name} are random: of the samples that one half of them flags, the other half flags "
        f"{wording.percent(overlap)} too{more}"
    ]


def _several_checkpoints(summary: Summary) -> list[str]:
    left_out = [one for one in summary.checkpoints if not one.counts]
    if not left_out:
        return []
    counted, all_of_them = len(summary.checkpoints) - len(left_out), len(summary.checkpoints)
    verdicts = [f"{one.name} ({one.diagnosis.verdict})" for one in left_out]
    return [
        f"Scores and predictions are those of {counted} of {all_of_them} checkpoints; left out: "
        f"{wording.cut(wording.listed(verdicts, 6), TEXT_LENGTH)}"
    ]


def _rescored(summary: Summary) -> list[str]:
    found = summary.rescored
    if found is None:
        return []
    return [
        f"{wording.number(found.samples)} samples that are flagged or nearly so were scored again in "
        f"float32, which changed {wording.number(found.changed)} flags"
    ]


def _class_order(summary: Summary) -> list[str]:
    if summary.class_order != "sorted":
        return []
    names = wording.cut(wording.listed([one.name for one in summary.classes], 6), TEXT_LENGTH)
    return [
        f"The model does not name its outputs; they were taken as the sorted class names ({names}). "
        "If it was trained on another order, list the names in that order as `classes` in the data section"
    ]


def _samples(count: int, one: str, more: str, between: str = "") -> str:
    """So many samples and the verb, in the singular or plural."""
    return f"{wording.number(count)} {_noun(count)}{between} {one if count == 1 else more}"


def _noun(count: int) -> str:
    return "sample" if count == 1 else "samples"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
