"""The rows of all cases as Markdown tables.

In: the rows of ``evidence.regimes``. Out: Markdown.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from evidence.regimes import REGIMES, Row

DEFAULT = "latent_label"
"""The detector of a config that names none."""
LABELS = {
    "memorised": "the last checkpoint, which has memorised the labels",
    "memorised, neighbours": "the same with `gradients.residual: neighbours`",
    "fresh": "one early checkpoint",
    "trajectory": "checkpoints of all epochs of that training, weighted",
    "folds": "out of fold, five folds",
}


def document(rows: Sequence[Row]) -> str:
    """All tables."""
    parts = [_goals(rows)]
    for regime in REGIMES:
        parts.append(f"### {LABELS[regime].capitalize()}\n\n{ranking(rows, regime)}")
    parts.append(f"### The automatic cut\n\n{cuts(rows)}")
    return "\n\n".join(parts) + "\n"


def ranking(rows: Sequence[Row], regime: str) -> str:
    """Average precision by set, and the means of the other figures, of each score; best first."""
    ranked = [row for row in rows if row["regime"] == regime and row.get("ap") is not None]
    sets = _ordered(row["set"] for row in rows)
    lines = []
    for name in _ordered(row["name"] for row in ranked):
        own = [row for row in ranked if row["name"] == name]
        cells = [_spread([row for row in own if row["set"] == one]) for one in sets]
        means = [_over_sets(own, key) for key in ("ap", "auroc", "precision")]
        seconds = [row["seconds"] for row in own if "seconds" in row]
        cells += [*map(_figure, means), f"{statistics.mean(seconds):.2f}" if seconds else ""]
        title = f"**{name}**" if own[0]["who"] == "ours" else name
        lines.append((means[0] if cells[0] and all(cells[: len(sets)]) else -1.0, [title, *cells]))
    lines.sort(key=lambda line: -line[0])
    head = ["score", *(f"{one} AP" for one in sets), "mean AP", "AUROC", "precision", "s"]
    return table(head, [cells for _, cells in lines])


def cuts(rows: Sequence[Row]) -> str:
    """`budget: auto` beside the best of cleanlab's filters, and what both estimate to be wrong."""
    lines = []
    keys = _ordered((row["regime"], row["set"], row["noise"]) for row in rows)
    for key in keys:
        here = [row for row in rows if (row["regime"], row["set"], row["noise"]) == key and "flagged" in row]
        ours = [row for row in here if row["name"] == f"{DEFAULT}, auto"]
        name, best = _best_filter(row for row in here if row["who"] == "peer")
        peer = next((row for row in here if row["who"] == "peer"), None)
        true, share = _mean(ours, "true"), _mean(ours, "rate")
        interval = f"{100 * _mean(ours, 'low'):.1f} to {100 * _mean(ours, 'high'):.1f}"
        found = _mean(ours, "f1") if ours[0]["f1"] is not None else None
        lines.append(
            [
                *key,
                _figure(found),
                f"{_figure(best)} {name}" if best is not None else "",
                f"{100 * true:.1f}",
                "" if math.isnan(share) else f"{100 * share:.1f}",
                interval,
                ""
                if peer is None
                else f"{100 * _mean([r for r in here if r['name'] == peer['name']], 'rate'):.1f}",
            ]
        )
    head = [
        "weights",
        "set",
        "noise",
        "F1",
        "best filter of cleanlab",
        "wrong %",
        "estimated %",
        "interval",
        "cleanlab %",
    ]
    return table(head, lines)


def _best_filter(rows: Iterable[Row]) -> tuple[str, float | None]:
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["f1"] is not None:
            found[row["name"].removeprefix("cleanlab ")].append(row["f1"])
    if not found:
        return "", None
    means = {name: statistics.mean(each) for name, each in found.items()}
    best = max(means, key=lambda name: means[name])
    return best, means[best]


def _goals(rows: Sequence[Row]) -> str:
    """AP by set of the default, and of the best other tool, which was chosen with the truth at hand."""
    sets = _ordered(row["set"] for row in rows)
    lines = []
    for regime in REGIMES:
        own = [row for row in rows if row["regime"] == regime and row.get("ap") is not None]
        default = [row for row in own if row["name"] == DEFAULT]
        lines.append([LABELS[regime], f"`{DEFAULT}`", *(_spread(_of(default, one)) for one in sets)])
        peers = _ordered(row["name"] for row in own if row["who"] == "peer" and row["name"] != "loss")
        if peers:
            best = []
            for one in sets:
                by = {name: _mean(_of([r for r in own if r["name"] == name], one), "ap") for name in peers}
                top = max(by, key=lambda name: by[name])
                best.append(f"{by[top]:.3f} ({top.removeprefix('cleanlab ')})")
            lines.append(["", "best other tool", *best])
    return table(["weights", "score", *sets], lines)


def _of(rows: Iterable[Row], name: str) -> list[Row]:
    return [row for row in rows if row["set"] == name]


def _spread(rows: Sequence[Row]) -> str:
    """Mean AP over noises and seeds; the deviation of the means of the seeds, where there are several."""
    if not rows:
        return ""
    seeds = defaultdict(list)
    noises = [{row["noise"] for row in rows if row["seed"] == seed} for seed in {row["seed"] for row in rows}]
    common = set.intersection(*noises)
    for row in rows:
        if row["noise"] in common:
            seeds[row["seed"]].append(row["ap"])
    text = f"{statistics.mean(row['ap'] for row in rows):.3f}"
    if len(seeds) < 2:
        return text
    return f"{text} ± {statistics.stdev(statistics.mean(each) for each in seeds.values()):.3f}"


def _over_sets(rows: Sequence[Row], key: str) -> float:
    return statistics.mean(_mean(_of(rows, one), key) for one in _ordered(row["set"] for row in rows))


def _mean(rows: Sequence[Row], key: str) -> float:
    known = [row[key] for row in rows if row[key] is not None]
    return statistics.mean(known) if known else float("nan")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _ordered(values: Iterable[object]) -> list:  # type: ignore[type-arg]
    return list(dict.fromkeys(values))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """GitHub-flavoured Markdown."""
    line: Callable[[Sequence[str]], str] = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
