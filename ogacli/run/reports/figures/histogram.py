"""The scores, and where the flagged ones begin."""

from typing import TYPE_CHECKING

import numpy as np

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.reports import sentences
from ogacli.run.reports.figures import BAR, MARK, figures
from ogacli.run.reports.plot import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register
def histogram(run: Run, figure: "Figure") -> str | None:
    """Counts on a square-root scale, on which rare scores stay visible."""
    found, cut = run.summary.histogram, run.summary.cut
    if found is None:
        return "no sample has a score"
    high = found.high if found.high > found.low else found.low + max(1.0, abs(found.low))
    edges = np.linspace(found.low, high, len(found.counts) + 1)
    axes = figure.add_subplot()
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.stairs(found.counts, edges, fill=True, color=BAR)
    if cut is not None:
        parts = np.clip(edges, cut, None)
        axes.stairs(found.counts, parts, fill=True, color=MARK)
        axes.axvline(cut, color=MARK, linestyle="--", linewidth=1)
        side = "left" if cut < (found.low + high) / 2 else "right"
        text = f" flagged from {wording.decimal(cut)} "
        axes.text(cut, 1.0, text, color=MARK, ha=side, va="top", transform=axes.get_xaxis_transform())
    drawn = plot(found, cut)
    axes.set_yticks([0, *(int(tick.text.replace(",", "")) for tick in drawn.y)])
    axes.yaxis.set_major_formatter(lambda value, _: wording.number(round(value)))
    axes.set_xlabel(f"score of {run.summary.detectors[0]}")
    axes.set_ylabel("samples (square-root scale)")
    axes.set_title(sentences.headline(run.summary), loc="left")
    return None
