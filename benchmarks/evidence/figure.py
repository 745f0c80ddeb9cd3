"""Average precision by set and by which weights the samples are scored with, as a picture."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from evidence.regimes import REGIMES, Row

SHOWN = {
    "latent_label": ("#0b6e4f", "o"),
    "l2": ("#c1440e", "s"),
    "isolation_forest": ("#4361ee", "^"),
    "loss": ("#888888", "v"),
}
_TICKS = ("memorised", "memorised,\nneighbours", "fresh", "trajectory", "folds")


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel a set, a line a score."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sets = list(dict.fromkeys(row["set"] for row in rows))
    figure, panels = plt.subplots(2, -(-len(sets) // 2), figsize=(11, 6.5), sharex=True, squeeze=False)
    for one, panel in zip(sets, panels.flat, strict=False):
        for name, (colour, marker) in SHOWN.items():
            panel.plot(
                range(len(REGIMES)),
                [_mean(rows, one, name, regime) for regime in REGIMES],
                color=colour,
                marker=marker,
                label=name,
                linewidth=1.5,
            )
        panel.set_title(one, fontsize=10)
        panel.set_xticks(range(len(REGIMES)), _TICKS, fontsize=7)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("average precision")
    panels[1, 0].set_ylabel("average precision")
    panels[0, 0].legend(frameon=False, fontsize=8)
    for panel in list(panels.flat)[len(sets) :]:
        panel.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _mean(rows: Sequence[Row], one: str, name: str, regime: str) -> float:
    found = [
        row["ap"]
        for row in rows
        if (row["set"], row["name"], row["regime"]) == (one, name, regime) and row.get("ap") is not None
    ]
    return statistics.mean(found) if found else float("nan")
