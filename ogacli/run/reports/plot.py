"""A histogram -> a drawing of it, 100 wide and 100 high, with y pointing down."""

import math
from dataclasses import dataclass

from ogacli.base import wording
from ogacli.run.summary import Histogram


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis, in percent of its length."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars whose height is the square root of their count, so that rare scores stay visible."""

    bars: str
    """The outline of all bars, as the data of an SVG path."""
    cut: float | None
    """Where the cut is, in percent of the width; None where nothing is flagged."""
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]


def plot(histogram: Histogram, cut: float | None) -> Plot:
    """The drawing of a histogram with its cut."""
    counts, low = histogram.counts, histogram.low
    # Where all scores are the same, the bins together are one unit wide, as in the summary.
    high = histogram.high if histogram.high > low else low + 1
    top = max(counts)
    width = 100 / len(counts)
    bars = "".join(
        f"M{_short(i * width)} 100V{_short(100 - _height(count, top))}h{_short(width)}V100z"
        for i, count in enumerate(counts)
        if count
    )
    return Plot(
        bars=bars,
        cut=None if cut is None else _round(100 * (cut - low) / (high - low)),
        x=tuple(Tick(_round(100 * (v - low) / (high - low)), wording.decimal(v)) for v in ticks(low, high)),
        y=tuple(Tick(_round(_height(v, top)), wording.number(v)) for v in _levels(top)),
    )


def _height(count: int, top: int) -> float:
    return 100 * math.sqrt(count / top)


def _round(value: float) -> float:
    return round(min(100.0, max(0.0, value)), 2)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def ticks(low: float, high: float) -> list[float]:
    """Some four to ten round numbers within a range."""
    step = _round_below((high - low) / 4)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _levels(top: int) -> list[int]:
    """Round counts at about one, two and three thirds of the height."""
    return sorted({int(_round_below(share * top)) for share in (1 / 9, 4 / 9, 1) if share * top >= 1})


def _round_below(value: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, .. (and their tenths) that is not above ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * max((factor for factor in (1, 2, 5) if factor * power <= value), default=1)
