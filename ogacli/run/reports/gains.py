"""The gains of a budget ``benefit`` as sentences, a table and a drawing.

In: a ``Benefit``. Out: texts; and a drawing that is 100 wide and 100 high, with y pointing up.
"""

from dataclasses import dataclass

from ogacli.base import wording
from ogacli.run.reports.plot import Tick, ticks
from ogacli.verdict.benefit import Benefit, Trial

ACTIONS = {"trim": "trimmed", "relabel": "relabelled", "weight": "weighted"}
HEADER = ("action", "amount", "trained on", "accuracy", "gain", "standard error")


def sentences(benefit: Benefit) -> list[str]:
    """What was chosen and by which means: sentences without full stop."""
    what = "heads on the model's features" if benefit.probe == "head" else "whole networks"
    tried = f"{wording.number(benefit.trainings)} trainings of {what} in {benefit.folds} folds"
    gain = f"{100 * benefit.gain:.1f} points (standard error {100 * benefit.error:.1f})"
    if benefit.action == "weight":
        found = f"Weighting all samples gained most: {gain}"
    elif benefit.amount:
        verb = "Leaving out" if benefit.action == "trim" else "Relabelling or leaving out"
        found = f"{verb} {wording.percent(benefit.amount)} gained most: {gain}"
    else:
        found = "No amount gained more than its standard error, so that nothing is flagged"
    return [
        f"{found}; {tried}, judged by the given labels of held-out samples",
        *_ranked(benefit),
        *map(_capital, benefit.notes),
    ]


def _ranked(benefit: Benefit) -> list[str]:
    if benefit.ranked is None:
        return []
    return [
        f"The scores are by {benefit.ranked} networks, each for the samples that it was not trained on, not "
        "by the checkpoints of the scan"
    ]


def row(trial: Trial) -> list[str]:
    """The cells of ``HEADER``."""
    amount = "all" if trial.action == "weight" else wording.percent(trial.amount)
    return [
        ACTIONS[trial.action],
        amount,
        wording.number(round(trial.samples)),
        wording.percent(trial.accuracy),
        f"{100 * trial.gain:+.1f}",
        f"{100 * trial.error:.1f}",
    ]


@dataclass(frozen=True, slots=True)
class Point:
    """A gain with one standard error up and down, in percent of width and height."""

    x: float
    y: float
    low: float
    high: float
    action: str
    chosen: bool
    text: str


@dataclass(frozen=True, slots=True)
class Gains:
    """The drawing."""

    points: tuple[Point, ...]
    lines: tuple[str, ...]
    """The points of one action each, as an SVG polyline with y pointing down."""
    zero: float
    """The height of no gain."""
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]


def drawing(benefit: Benefit) -> Gains:
    """The gain of each amount, a line for each action."""
    trials = benefit.trials
    low = min(0.0, *(one.gain - one.error for one in trials))
    high = max(0.0, *(one.gain + one.error for one in trials))
    low, high = (low, high) if high > low else (low - 0.01, high + 0.01)
    widest = max(one.amount for one in trials) or 1.0

    def up(value: float) -> float:
        return round(4 + 92 * (value - low) / (high - low), 2)

    def across(amount: float) -> float:
        return round(3 + 94 * amount / widest, 2)

    points = tuple(
        Point(
            across(one.amount),
            up(one.gain),
            up(one.gain - one.error),
            up(one.gain + one.error),
            one.action,
            (one.action, one.amount) == (benefit.action, benefit.amount),
            f"{ACTIONS[one.action]} {row(one)[1]}: {row(one)[4]} points",
        )
        for one in trials
    )
    lines = []
    for action in ("trim", "relabel"):
        own = [one for one in points if one.action == action or one is points[0]]
        if len(own) > 1:
            lines.append(" ".join(f"{one.x},{round(100 - one.y, 2)}" for one in own))
    amounts = sorted({one.amount for one in trials})
    return Gains(
        points,
        tuple(lines),
        up(0.0),
        tuple(Tick(across(amount), wording.percent(amount)) for amount in amounts),
        tuple(Tick(up(value), f"{100 * value:+.3g}") for value in ticks(low, high)),
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
