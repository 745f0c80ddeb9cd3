"""A map of the gradients: the two directions in which those of the head differ most."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.run.directory import Run
from ogacli.run.reports.figures import BAR, MARK, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register
def gradient_map(run: Run, figure: "Figure") -> str | None:
    """A point a sample; flagged ones are marked."""
    found = run.gradient_map
    if not len(found):
        return "the scan kept no gradients that can be compared: folds have networks of their own"
    positions = found["position"].combine_chunks()

    def marked_here(rows: pa.Table) -> pa.ChunkedArray:
        return pc.and_(pc.is_in(rows["position"], positions), rows["flagged"])

    rows = run.rows(marked_here, ["position", "flagged"], len(found))
    flagged = pc.is_in(positions, rows["position"].combine_chunks())
    axes = figure.add_subplot()
    for marked, colour, label in ((False, BAR, "not flagged"), (True, MARK, "flagged")):
        points = found.filter(flagged if marked else pc.invert(flagged))
        label = f"{label} ({len(points):,} shown)"
        axes.scatter(points["x"], points["y"], s=9, color=colour, alpha=0.7, linewidths=0, label=label)
    axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel("first direction (length on a square-root scale)")
    axes.set_ylabel("second direction")
    axes.set_title("Gradients of the head, projected", loc="left")
    return None
