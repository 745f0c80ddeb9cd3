"""No sample is flagged that is new or was changed since the baseline."""

from dataclasses import replace
from typing import ClassVar

from ogacli.base import wording
from ogacli.base.options import Location
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most
from ogacli.run.gate.outcome import Outcome
from ogacli.run.gate.ratchet import flagged_since, reviewed
from ogacli.verdict.budget import Budget

_NAMED = 10
"""Samples named in a detail."""


@conditions.register
class MaxNewFlagged(Condition):
    """A ratchet: samples that were there before may stay, whatever a retrained checkpoint finds of them."""

    order: ClassVar[int] = 105

    max_new_flagged: Limit = Budget(0)
    """With a baseline: flagged samples that are not in it, or whose inputs or label have changed since; a
    count, or a share of the scored samples."""
    reviewed: Location | list[str] | None = None
    """Samples that somebody has looked at, which ``max_new_flagged`` leaves out: a list of ids, or a file. A
    text file has an id a line; where a fingerprint follows it, after a tab, it holds until the sample is
    changed. Of a document that ``oga review`` exports, those with the decision ``keep`` are taken."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the ids and fingerprints of the flagged samples."""
        if baseline is None or self.max_new_flagged is None:
            return None
        since = flagged_since(run, baseline, reviewed(self.reviewed))
        count = len(since.new) + len(since.changed)
        details = [
            f"{noun}: {wording.listed([wording.cut(one, 40) for one in ids], _NAMED)}"
            for noun, ids in (("new", since.new), ("changed", since.changed))
            if ids
        ]
        if since.reviewed:
            details.append(f"reviewed: {since.reviewed:,}")
        if since.by_label:
            details.append("inputs were not read, so that only labels are compared")
        outcome = at_most("max_new_flagged", count, run.counts.scored, self.max_new_flagged)
        return replace(outcome, detail="; ".join(details), samples=(*since.new, *since.changed))
