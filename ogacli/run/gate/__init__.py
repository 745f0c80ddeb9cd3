"""``oga gate``: may this dataset pass?

In: a run, a policy of limits and, if there is one, an earlier run as the baseline. Out: a ``Gate``: every
condition with what was found and what is allowed. A share that is allowed is turned into a whole number of
samples as a budget is (to the nearest), and whole numbers are compared: what is exactly at the limit passes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow.compute as pc

from ogacli.base import markdown, wording
from ogacli.run.directory import Run
from ogacli.run.gate.policy import GatePolicy
from ogacli.run.gate.policy import load_policy as load_policy
from ogacli.run.summary import ClassSummary, Summary
from ogacli.verdict.budget import Budget

_NAMED = 5
"""Classes named in a detail."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One limit of the policy, held against the run."""

    name: str
    """The key of the policy."""
    found: str
    allowed: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""
    """What else there is to say, such as the classes that fail."""

    @property
    def passed(self) -> bool:
        """Whether it lets the run through; a skipped one does."""
        return self.status != "failed"


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a run may pass, and why."""

    conditions: tuple[Condition, ...]
    warnings: tuple[str, ...]
    """Of the run's diagnosis: they do not decide, but say how far the scores can be trusted."""

    @property
    def passed(self) -> bool:
        """Whether every condition passed."""
        return all(condition.passed for condition in self.conditions)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        conditions = [asdict(condition) for condition in self.conditions]
        return {
            "schema_version": 1,
            "passed": self.passed,
            "conditions": conditions,
            "warnings": list(self.warnings),
        }

    def markdown(self) -> str:
        """As a comment on a pull request."""
        failed = sum(not condition.passed for condition in self.conditions)
        verdict = "passed" if self.passed else f"failed: {failed} of {len(self.conditions)} conditions"
        rows = [
            [condition.status, f"`{condition.name}`"]
            + [markdown.code(text) for text in (condition.found, condition.allowed, condition.detail)]
            for condition in self.conditions
        ]
        table = markdown.table(["", "condition", "found", "allowed", "detail"], rows, numeric=0)
        return "\n\n".join([f"## oga gate {verdict}", *markdown.warnings(self.warnings), table]) + "\n"


def gate(run: Run, policy: GatePolicy | None = None, *, baseline: Run | None = None) -> Gate:
    """Hold a run against the limits of a policy.

    Args:
        run: The run to judge.
        policy: The limits; the default ones where left out.
        baseline: An earlier run that it must not be much worse than.

    Raises:
        RunError: A run directory cannot be read.
    """
    policy = policy or GatePolicy()
    conditions = list(_absolute(run.summary, policy))
    if baseline is not None:
        conditions += _relative(run, baseline, policy)
    return Gate(tuple(conditions), run.summary.diagnosis.warnings)


def _absolute(summary: Summary, policy: GatePolicy) -> Iterator[Condition]:
    if policy.require_useful:
        yield _useful(summary)
    yield Condition(
        "min_samples",
        found=f"{wording.number(summary.scored)} scored",
        allowed=f"at least {wording.number(policy.min_samples)}",
        status="passed" if summary.scored >= policy.min_samples else "failed",
    )
    if policy.max_flagged is not None:
        yield _at_most("max_flagged", summary.flagged, summary.scored, policy.max_flagged)
    if policy.max_flagged_per_class is not None:
        limit = policy.max_flagged_per_class
        judged = [_Class.under(one, limit) for one in summary.classes]
        text = _plain(limit.value) if isinstance(limit.value, float) else "in any one class"
        yield _of_classes("max_flagged_per_class", judged, text, policy)
    if policy.max_quarantined is not None:
        yield _at_most("max_quarantined", summary.quarantined, summary.samples, policy.max_quarantined)


def _useful(summary: Summary) -> Condition:
    found = summary.diagnosis
    if found.verdict is None:
        return Condition(
            "require_useful", "", "", "skipped", "there are no classes to diagnose the checkpoint by"
        )
    return Condition(
        "require_useful",
        found=f"{found.verdict} checkpoint",
        allowed="not memorised",
        status="failed" if found.verdict == "memorised" else "passed",
        detail=found.reason,
    )


def _relative(run: Run, baseline: Run, policy: GatePolicy) -> Iterator[Condition]:
    now, before = run.summary, baseline.summary
    if policy.max_flagged_increase is not None:
        yield _not_above(
            "max_flagged_increase",
            (now.flagged, now.scored),
            (before.flagged, before.scored),
            policy.max_flagged_increase,
        )
    if policy.max_class_increase is not None:
        yield _class_increase(now, before, policy, policy.max_class_increase)
    if policy.max_above_cut_increase is not None:
        yield _above_cut(run, baseline, policy.max_above_cut_increase)


def _at_most(name: str, count: int, total: int, limit: Budget) -> Condition:
    text = _plain(limit.value) if isinstance(limit.value, float) else ""
    return _counted(name, count, total, limit, text)


def _not_above(name: str, now: tuple[int, int], before: tuple[int, int], tolerance: float) -> Condition:
    """Compare a share of the run, as (count, total), with the same share of the baseline."""
    if not before[1]:
        return Condition(name, "", "", "skipped", "the baseline has no scored sample")
    share = before[0] / before[1]
    text = f"baseline {wording.percent(share)} + {_plain(tolerance)}"
    return _counted(name, *now, _capped(share + tolerance), text)


def _counted(name: str, count: int, total: int, limit: Budget, text: str) -> Condition:
    """Hold a count against a limit, which ``text`` explains."""
    allowed = _allowed(limit, total)
    passed = count <= allowed
    if passed and isinstance(limit.value, float) and count > limit.value * total:
        text += ", rounded up"
    return Condition(
        name,
        found=wording.part(count, total),
        allowed=f"at most {allowed:,}" + (f" ({text})" if text else ""),
        status="passed" if passed else "failed",
    )


def _above_cut(run: Run, baseline: Run, tolerance: float) -> Condition:
    name, cut = "max_above_cut_increase", baseline.summary.cut
    differs = [what for what, same in _comparable(run, baseline) if not same]
    if differs:
        return Condition(name, "", "", "skipped", f"scores cannot be compared: other {' and '.join(differs)}")
    if cut is None:
        return Condition(name, "", "", "skipped", "the baseline flagged nothing, so it has no cut")
    now, before = _reaching(run, cut), _reaching(baseline, cut)
    condition = _not_above(name, now, before, tolerance)
    if sorted(_checkpoints(run)) == sorted(_checkpoints(baseline)):
        return condition
    note = "the checkpoints differ, which may move all scores"
    return Condition(name, condition.found, condition.allowed, condition.status, note)


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
    scores = run.scores["score"].drop_null()
    return pc.sum(pc.greater_equal(scores, cut)).as_py() or 0, len(scores)


# --- Classes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Class:
    """A class and how many of its samples may be flagged."""

    summary: ClassSummary
    allowed: int
    above: float
    """How far it lies above its limit; orders the classes."""

    @classmethod
    def under(cls, one: ClassSummary, limit: Budget) -> "_Class":
        scored = one.samples - one.quarantined
        found = one.flagged / max(scored, 1) if isinstance(limit.value, float) else one.flagged
        return cls(one, _allowed(limit, scored), found - float(limit.value))

    @property
    def scored(self) -> int:
        return self.summary.samples - self.summary.quarantined

    @property
    def passed(self) -> bool:
        return self.summary.flagged <= self.allowed

    @property
    def rounded_up(self) -> bool:
        """Whether it passes although its share lies above the limit, by less than a sample."""
        return self.passed and self.above > 1e-12

    def __str__(self) -> str:
        name = wording.cut(self.summary.name, 40)
        return f"{name!r}: {wording.part(self.summary.flagged, self.scored)}"


def _class_increase(now: Summary, before: Summary, policy: GatePolicy, tolerance: float) -> Condition:
    known = {one.name: one for one in before.classes}
    judged, new = [], []
    for one in now.classes:
        old = known.get(one.name)
        scored = 0 if old is None else old.samples - old.quarantined
        if old is None or scored < policy.min_class_samples:
            new += [one.name] * (one.samples > 0)
        else:
            judged.append(_Class.under(one, _capped(old.flagged / scored + tolerance)))
    text = f"the baseline's share + {_plain(tolerance)}"
    note = f"too few in the baseline: {wording.listed(_quoted(new), _NAMED)}" if new else ""
    return _of_classes("max_class_increase", judged, text, policy, note)


def _of_classes(
    name: str, judged: Sequence[_Class], text: str, policy: GatePolicy, note: str = ""
) -> Condition:
    """One condition for all classes: the one that is furthest above its limit, and who else is above."""
    enough = [one for one in judged if one.scored >= policy.min_class_samples]
    few = sum(0 < one.scored for one in judged) - sum(0 < one.scored for one in enough)
    notes = [note] if note else []
    if few:
        notes.append(f"classes of fewer than {policy.min_class_samples} samples left out: {few}")
    if not enough:
        return Condition(name, "", "", "skipped", "; ".join(["no class to judge", *notes]))
    ordered = sorted(enough, key=lambda one: (one.passed, -one.above))
    above = [str(one) for one in ordered[1:] if not one.passed]
    if above:
        notes.insert(0, f"also {wording.listed(above, _NAMED)}")
    worst = ordered[0]
    return Condition(
        name,
        found=str(worst),
        allowed=f"at most {worst.allowed:,} ({text}{', rounded up' * worst.rounded_up})",
        status="passed" if worst.passed else "failed",
        detail="; ".join(notes),
    )


def _allowed(limit: Budget, total: int) -> int:
    """A limit as a whole number of samples."""
    return limit.value if isinstance(limit.value, int) else limit.count(total, 0)


def _capped(share: float) -> Budget:
    return Budget(min(share, 1.0))


def _plain(share: float) -> str:
    return f"{100 * share:.4g}%"


def _quoted(names: Sequence[str]) -> list[str]:
    return [repr(wording.cut(name, 40)) for name in names]
