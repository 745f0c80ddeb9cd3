"""Limits on counts of samples. In: counts and a limit. Out: an ``Outcome``.

A limit that is a share is turned into a whole number of samples as a budget is (to the nearest), and whole
numbers are compared: what is exactly at the limit passes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainValidator

from ogacli.base import wording
from ogacli.errors import ConfigError
from ogacli.run.gate.outcome import Outcome
from ogacli.run.summary import ClassSummary
from ogacli.verdict.budget import Budget

_NAMED = 5
"""Classes named in a detail."""


def limit(value: object) -> Budget | None:
    """A share or a count, as a policy gives it; None switches the condition off.

    Raises:
        ValueError: It is neither.
    """
    if value is None or isinstance(value, Budget):
        return value
    try:
        found = Budget.parse(value)
    except ConfigError:
        found = Budget("auto")
    if found.value in ("auto", "benefit") or found.review:
        raise ValueError("not a limit: a fraction such as 0.05 (or 5%), a count such as 200, or null")
    return found


def _share(value: object) -> float | None:
    """A fraction; None switches the condition off."""
    found = limit(float(value) if value in (0, 1) and not isinstance(value, bool) else value)
    if found is not None and not isinstance(found.value, float):
        raise ValueError("not a share: a fraction such as 0.02 (or 2%), or null")
    return None if found is None else float(found.value)


Limit = Annotated[Budget | None, PlainValidator(limit)]
Share = Annotated[float | None, PlainValidator(_share)]


def skipped(name: str, why: str) -> Outcome:
    """A condition that cannot be judged."""
    return Outcome(name, "", "", "skipped", why)


def at_most(name: str, count: int, total: int, limit: Budget) -> Outcome:
    """Compare a count out of ``total`` with a share or a count."""
    return _counted(name, count, total, limit, plain(limit.value) if isinstance(limit.value, float) else "")


def at_most_found(
    name: str, count: int | None, total: int, limit: Budget | None, *, needs: str
) -> Outcome | None:
    """Compare a count with a limit; a scan that did not count fails.

    Args:
        name: The condition.
        count: How many were found; None where the scan did not look.
        total: Of how many.
        limit: None switches the condition off.
        needs: How a scan looks for them.
    """
    if limit is None:
        return None
    if count is None:
        return Outcome(name, found="not looked for", allowed=f"a scan with {needs}", status="failed")
    return at_most(name, count, total, limit)


def not_above(name: str, now: tuple[int, int], before: tuple[int, int], tolerance: float) -> Outcome:
    """Compare a share of the run, as (count, total), with the same share of the baseline."""
    if not before[1]:
        return skipped(name, "the baseline has no scored sample")
    share = before[0] / before[1]
    text = f"baseline {wording.percent(share)} + {plain(tolerance)}"
    return _counted(name, *now, capped(share + tolerance), text)


def _counted(name: str, count: int, total: int, limit: Budget, text: str) -> Outcome:
    """Compare a count with a limit, which ``text`` explains."""
    allowed = _allowed(limit, total)
    passed = count <= allowed
    if passed and isinstance(limit.value, float) and count > limit.value * total:
        text += ", rounded up"
    return Outcome(
        name,
        found=wording.part(count, total),
        allowed=f"at most {allowed:,}" + (f" ({text})" if text else ""),
        status="passed" if passed else "failed",
    )


@dataclass(frozen=True, slots=True)
class LimitedClass:
    """A class and how many of its samples may be flagged."""

    summary: ClassSummary
    allowed: int
    above: float
    """How far it is above its limit, by which the classes are ordered."""

    @classmethod
    def under(cls, one: ClassSummary, limit: Budget) -> "LimitedClass":
        """A class under a limit of its own."""
        scored = one.samples - one.quarantined
        found = one.flagged / max(scored, 1) if isinstance(limit.value, float) else one.flagged
        return cls(one, _allowed(limit, scored), found - float(limit.value))

    @property
    def passed(self) -> bool:
        """Whether no more are flagged than may be."""
        return self.summary.flagged <= self.allowed

    @property
    def scored(self) -> int:
        """Samples of the class that have a score."""
        return self.summary.samples - self.summary.quarantined

    @property
    def rounded_up(self) -> bool:
        """Whether it passes only because its limit was rounded up to a whole sample."""
        return self.passed and self.above > 1e-12

    def __str__(self) -> str:
        return f"{quoted(self.summary.name)}: {wording.part(self.summary.flagged, self.scored)}"


def classes_at_most(
    name: str, classes: Sequence[LimitedClass], text: str, least: int, notes: Iterable[str] = ()
) -> Outcome:
    """One outcome for all classes: the class furthest above its limit, and which others are above theirs.

    Args:
        name: The condition.
        classes: Each with its limit.
        text: Explains the limits.
        least: Classes with fewer scored samples are left out.
        notes: Further details.
    """
    enough = [one for one in classes if one.scored >= least]
    few = sum(0 < one.scored for one in classes) - sum(0 < one.scored for one in enough)
    details = list(notes)
    if few:
        details.append(f"classes of fewer than {least} samples left out: {few}")
    if not enough:
        return skipped(name, "; ".join(["no class to judge", *details]))
    worst, *others = sorted(enough, key=lambda one: (one.passed, -one.above))
    above = [str(one) for one in others if not one.passed]
    if above:
        details.insert(0, f"also {wording.listed(above, _NAMED)}")
    return Outcome(
        name,
        found=str(worst),
        allowed=f"at most {worst.allowed:,} ({text}{', rounded up' * worst.rounded_up})",
        status="passed" if worst.passed else "failed",
        detail="; ".join(details),
    )


def _allowed(limit: Budget, total: int) -> int:
    """A limit as a whole number of samples."""
    return limit.value if isinstance(limit.value, int) else limit.count(total, 0)


def capped(share: float) -> Budget:
    """A share as a limit, at most all."""
    return Budget(min(share, 1.0))


def plain(share: float) -> str:
    """A share with all its digits: ``12.5%``."""
    return f"{100 * share:.4g}%"


def plain_limit(value: object) -> object:
    """A limit as a policy file has it."""
    return value.value if isinstance(value, Budget) else value


def quoted(name: str) -> str:
    """A class name, cut to length."""
    return repr(wording.cut(name, 40))


def listed(names: Sequence[str]) -> str:
    """Some class names."""
    return wording.listed([quoted(name) for name in names], _NAMED)
