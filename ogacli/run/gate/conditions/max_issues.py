"""Not too many parts of labels are probably wrong."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator

from ogacli.base import wording
from ogacli.run import issues
from ogacli.run.directory import Run
from ogacli.run.gate.conditions import Condition, conditions
from ogacli.run.gate.limits import Limit, at_most, limit, skipped
from ogacli.run.gate.outcome import Outcome
from ogacli.verdict.budget import Budget

_REASONS = tuple(issues.MEANINGS)
_NAMED = 5
"""Classes named in a detail."""


def _limits(value: Any) -> Mapping[str, Budget] | None:
    """A limit for each reason.

    Raises:
        ValueError: One is none, or a key is no reason.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError("not limits by reason, such as {forgotten: 100}")
    for reason in value:
        if reason not in _REASONS:
            near = wording.suggestion(str(reason), _REASONS)
            raise ValueError(f"not a reason: {reason!r}{near}; known ones are {', '.join(_REASONS)}")
    found = {reason: limit(one) for reason, one in value.items()}
    return {reason: one for reason, one in found.items() if one is not None}


@conditions.register
class MaxIssues(Condition):
    """Limits on the parts of labels in ``issues.parquet`` that are more probably wrong than right."""

    order: ClassVar[int] = 42

    max_issues: Annotated[Mapping[str, Budget] | None, PlainValidator(_limits)] = None
    """For some reasons, such as ``forgotten`` or ``wrong target``, how many parts of labels there may be:
    a count, or a share of the number of scored samples."""
    max_issues_per_class: Limit = None
    """The same for all reasons together, for each class or target: a count, or a share of the labels that
    have the class."""

    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """By the reason, or else the class, that is furthest above its limit."""
        if self.max_issues is None and self.max_issues_per_class is None:
            return None
        if not run.summary.cells:
            return skipped("max_issues", "labels have no parts that were judged")
        counts, scored = run.counts.issues, run.counts.scored
        reasons = Counter[str]()
        for (_, reason), count in counts.items():
            reasons[reason] += count
        limits = self.max_issues or {}
        outcomes = [at_most(reason, reasons[reason], scored, one) for reason, one in limits.items()]
        if self.max_issues_per_class is not None:
            classes = {name: sum(found.values()) for name, found in issues.by_class(counts).items()}
            outcomes += [
                at_most(repr(cell.name), classes.get(cell.name, 0), cell.given, self.max_issues_per_class)
                for cell in run.summary.cells
            ]
        failed = [one for one in outcomes if not one.passed]
        if not outcomes:
            return None
        first, *others = failed or outcomes[:1]
        also = wording.listed([f"{wording.cut(one.name, 40)}: {one.found}" for one in others], _NAMED)
        return Outcome(
            "max_issues",
            found=f"{wording.cut(first.name, 40)}: {first.found}",
            allowed=first.allowed,
            status=first.status,
            detail=f"also {also}" if also else "",
        )
