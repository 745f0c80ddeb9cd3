"""The result of a gate: an ``Outcome`` for each condition, and the ``Gate`` of all of them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One condition of the policy, applied to a run."""

    name: str
    """The condition, which is also its key in the policy."""
    found: str
    allowed: str
    status: Literal["passed", "warned", "failed", "skipped"]
    """``warned``: something to know, which does not decide."""
    detail: str = ""
    """Further facts, such as the other classes that fail."""
    samples: tuple[str, ...] = ()
    """The ids of the samples that it is about, where these are single ones."""

    @property
    def passed(self) -> bool:
        """Whether the run may pass; only a failed condition stops it."""
        return self.status != "failed"


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a run may pass, and why."""

    conditions: tuple[Outcome, ...]
    warnings: tuple[str, ...]
    """The warnings of the run's diagnosis; they do not decide."""

    @property
    def passed(self) -> bool:
        """Whether every condition passed."""
        return all(outcome.passed for outcome in self.conditions)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "passed": self.passed,
            "conditions": [asdict(outcome) for outcome in self.conditions],
            "warnings": list(self.warnings),
        }
