"""Not many more scores reach the baseline's cut than did in the baseline."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pyarrow.compute as pc

from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Share, not_above, skipped
from ogacli.run.gate.outcome import Outcome


@conditions.register
class MaxAboveCutIncrease(Condition):
    """A limit on the drift of the scores, which shows although the budget flags as many as before."""

    order: ClassVar[int] = 130

    max_above_cut_increase: Share = None
    """With a baseline of the same detector and layers: how far the share of scores that reach the
    baseline's cut may be above the baseline's own. Off by default, as a retrained checkpoint moves it too."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the scores of both runs; skipped where their scales differ."""
        name = "max_above_cut_increase"
        if baseline is None or self.max_above_cut_increase is None:
            return None
        differs = [what for what, same in _comparable(run, baseline) if not same]
        if differs:
            return skipped(name, f"scores cannot be compared: other {' and '.join(differs)}")
        cut = baseline.counts.cut
        if cut is None:
            return skipped(name, "the baseline flagged nothing, so it has no cut")
        outcome = not_above(name, _reaching(run, cut), _reaching(baseline, cut), self.max_above_cut_increase)
        if sorted(_checkpoints(run)) == sorted(_checkpoints(baseline)):
            return outcome
        return replace(outcome, detail="the checkpoints differ, which may move all scores")


def _comparable(run: Run, baseline: Run) -> Iterator[tuple[str, bool]]:
    """What the scale of the scores depends on, and whether both runs have the same."""
    now, before = run.config, baseline.config
    yield "detector", _first(now.get("detector")) == _first(before.get("detector"))
    yield "layers", run.summary.layers == baseline.summary.layers
    yield "number of parameters", run.summary.parameters == baseline.summary.parameters
    yield "loss", now.get("loss") == before.get("loss")


def _first(detectors: object) -> object:
    return detectors[0] if isinstance(detectors, list) and detectors else detectors


def _checkpoints(run: Run) -> list[str]:
    return list(run.provenance.get("checkpoints", {}).values())


def _reaching(run: Run, cut: float) -> tuple[int, int]:
    """How many scores are at least ``cut``, and how many there are."""
    reaching = sum(pc.greater_equal(rows["score"], cut).true_count for rows in run.batches(["score"]))
    return reaching, run.counts.scored
