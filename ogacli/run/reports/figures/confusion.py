"""How often each given label comes with each suggested one."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ogacli.base import wording
from ogacli.run.directory import Run
from ogacli.run.reports.figures import figures
from ogacli.run.reports.sentences import LABEL_LENGTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST, _NUMBERED = 30, 15
"""Classes that are shown; and with how many of them the cells have numbers."""


@figures.register
def confusion(run: Run, figure: "Figure") -> str | None:
    """Samples, flagged or not, whose most probable label is not the given one."""
    pairs: Counter[tuple[str, str]] = Counter()
    for part in run.batches(["label", "suggested_label"]):
        found = part.filter(part["suggested_label"].is_valid())
        texts = (found[name].cast(pa.string()).to_pylist() for name in ("label", "suggested_label"))
        pairs.update(zip(*texts, strict=True))
    if not pairs:
        return "no other label is suggested for any sample"
    total: Counter[str] = Counter()
    for pair, number in pairs.items():
        total.update(dict.fromkeys(pair, number))
    order = {one.name: place for place, one in enumerate(run.summary.classes)}
    most = [name for name, _ in total.most_common(_MOST)]
    names = sorted(most, key=lambda name: order.get(name, len(order)))
    counts = np.array([[pairs[row, column] for column in names] for row in names])
    size = 2.2 + 0.3 * len(names)
    figure.set_size_inches(max(4.5, size + 0.8), max(3.8, size))
    axes = figure.add_subplot()
    axes.imshow(np.sqrt(counts), cmap="Oranges")
    shown = [wording.cut(name, LABEL_LENGTH // 2) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=90 if max(map(len, shown)) > 3 else 0)
    axes.set_yticks(range(len(names)), shown)
    if len(names) <= _NUMBERED:
        dark = counts.max() / 3
        for row, column in zip(*counts.nonzero(), strict=True):
            colour = "white" if counts[row, column] > dark else "black"
            text = wording.number(int(counts[row, column]))
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xlabel("suggested label")
    axes.set_ylabel("given label")
    axes.set_title(f"{wording.number(pairs.total())} samples with another suggested label", loc="left")
    return None
