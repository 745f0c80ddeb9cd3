"""The conditions of a gate: one file a condition.

In: a run and, if there is one, an earlier run as the baseline. Out: an ``Outcome``. A new condition is a new
file here with one class under ``@conditions.register``, named as its module. Its fields are keys of the
policy; two conditions that share a field inherit it from one class.
"""

from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import Field

from ogacli.base.options import Options
from ogacli.base.registry import Registry
from ogacli.run.directory import Run
from ogacli.run.gate.outcome import Outcome


class Condition(Options):
    """A condition with its limits."""

    order: ClassVar[int] = 100
    """Conditions are listed in this order, then by name."""

    @abstractmethod
    def judge(self, run: Run, baseline: Run | None) -> Outcome | None:
        """Apply the condition to a run.

        Args:
            run: The run to judge.
            baseline: An earlier run to compare it with.

        Returns:
            None where the condition is switched off, or compares with a baseline and there is none.
        """


class ClassCondition(Condition):
    """A condition on each class."""

    min_class_samples: Annotated[int, Field(ge=1)] = 10
    """Classes with fewer scored samples are left out of the conditions on classes."""


conditions: Registry[type[Condition]] = Registry(__name__, "condition")


def all_conditions() -> list[type[Condition]]:
    """The classes of all conditions, in the order in which they are listed."""
    named = [(name, conditions.get(name)) for name in conditions.names()]
    return [cls for _, cls in sorted(named, key=lambda one: (one[1].order, one[0]))]
