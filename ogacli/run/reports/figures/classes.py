"""The flagged share of each given label."""

from typing import TYPE_CHECKING

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.reports import sentences
from ogacli.run.reports.content import class_shares
from ogacli.run.reports.figures import BAR, MARK, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 30


@figures.register
def classes(run: Run, figure: "Figure") -> str | None:
    """A bar a class, the largest share first; the line is the share of all samples."""
    shares = class_shares(run.summary, _MOST)
    if not shares:
        return "samples do not have classes"
    figure.set_figheight(1.4 + 0.26 * len(shares))
    axes = figure.add_subplot()
    places = range(len(shares))
    axes.barh(places, [100 * one.share for one in shares], color=MARK)
    axes.set_yticks(places, [one.name for one in shares])
    axes.invert_yaxis()
    for place, one in zip(places, shares, strict=True):
        text = f" {wording.percent(one.share)}, {wording.number(one.flagged)} of {wording.number(one.scored)}"
        axes.text(100 * one.share, place, text, va="center", fontsize=8)
    overall = sentences.flagged_share(run.summary)
    axes.axvline(100 * overall, color=BAR, linestyle="--", linewidth=1)
    axes.set_xlim(0, 1.35 * max(100 * shares[0].share, 100 * overall, 0.1))
    axes.set_xlabel(f"flagged, % of the samples (all: {wording.percent(overall)})")
    axes.set_ylabel("given label")
    rest = sum(one.samples > 0 for one in run.summary.classes) - len(shares)
    axes.set_title("Flagged by given label" + (f" ({rest:,} more classes)" if rest else ""), loc="left")
    return None
