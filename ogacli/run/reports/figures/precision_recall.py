"""How many of the first samples of each ranking are wrong, where the truth is known."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ogacli.run.directory import Run
from ogacli.run.reports.figures import LINES, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register
def precision_recall(run: Run, figure: "Figure") -> str | None:
    """A line a detector; the dot is what is flagged."""
    found = run.summary.evaluation
    scores = run.scores
    if not found or "truth" not in scores.column_names:
        return "the truth is not known"
    names = scores.column_names
    if "wrong" in names:
        wrong = scores["wrong"].to_numpy().astype(bool)
    else:
        given, truth = (scores[name].cast(pa.string()) for name in ("label", "truth"))
        wrong = pc.not_equal(given, truth).to_numpy().astype(bool)
    if not wrong.any():
        return "no label is wrong"
    axes = figure.add_subplot()
    for number, (name, one) in enumerate(found.items()):
        score = scores["score" if number == 0 else f"score_{name}"].to_numpy().astype(float)
        scored = ~np.isnan(score)
        order = np.argsort(-score[scored], kind="stable")
        hits = wrong[scored][order].cumsum()
        recall, precision = hits / max(1, hits[-1]), hits / np.arange(1, len(hits) + 1)
        colour = LINES[number % len(LINES)]
        label = name if one.average_precision is None else f"{name} (AP {one.average_precision:.3f})"
        axes.plot(recall, precision, color=colour, linewidth=1.4, label=label)
        point = one.recall_at_budget, one.precision_at_budget
        if number == 0 and point[0] is not None and point[1] is not None:
            axes.plot(point[0], point[1], "o", color=colour, label="flagged")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("recall: share of the wrong labels among the first samples")
    axes.set_ylabel("precision: share of these that are wrong")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    axes.set_title("Compared with the truth", loc="left")
    return None
