"""What a model gains where samples are left out, relabelled or weighted."""

from typing import TYPE_CHECKING

from ogacli.run.directory import Run
from ogacli.run.reports.figures import LINES, figures
from ogacli.run.reports.gains import ACTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register
def benefit(run: Run, figure: "Figure") -> str | None:
    """The gain of each amount with one standard error, a line an action; the choice is marked."""
    found = run.summary.benefit
    if found is None:
        return "the scan had no `budget: benefit`"
    axes = figure.add_subplot()
    axes.axhline(0, color="black", linewidth=0.6)
    nothing = [one for one in found.trials if not one.amount]
    for number, (action, label) in enumerate(ACTIONS.items()):
        own = [one for one in found.trials if one.action == action and one.amount] or (
            [one for one in found.trials if one.action == action] if action == "weight" else []
        )
        if not own:
            continue
        trials = sorted([*(nothing[:1] if action != "weight" else []), *own], key=lambda one: one.amount)
        axes.errorbar(
            [100 * one.amount for one in trials],
            [100 * one.gain for one in trials],
            [100 * one.error for one in trials],
            color=LINES[number],
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.3,
            label=label,
        )
    chosen = [one for one in found.trials if (one.action, one.amount) == (found.action, found.amount)]
    for one in chosen[:1]:
        place = 100 * one.amount, 100 * one.gain
        axes.plot(*place, "o", markersize=11, mfc="none", color="black", label="chosen")
    axes.set_xlabel("left out or changed, % of the samples")
    axes.set_ylabel("gain in held-out accuracy, points")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("How much to leave out", loc="left")
    return None
