"""``Setup``: everything that a scan needs, opened and checked.

In: samples, a model and options, from a config or from Python objects. Out: the input of ``execute`` and
``plan``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ogacli.data import Samples
from ogacli.detectors import DetectorOptions
from ogacli.errors import ConfigError
from ogacli.gradients import GradientOptions
from ogacli.models.sources import ModelSource
from ogacli.models.tasks import Task
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import Protect


@dataclass(frozen=True, slots=True)
class Setup:
    """What to scan, with what.

    Raises:
        ConfigError: The budget counts wrong labels, and samples do not have one class each.
    """

    samples: Samples
    """As the model is called with them."""
    source: ModelSource
    task: Task
    gradients: GradientOptions
    detectors: tuple[DetectorOptions, ...]
    """The first decides what is flagged."""
    budget: Budget
    protect: Protect
    validation: Samples | None
    """Samples whose labels are right, where a detector compares with such."""
    workers: int | Literal["auto"]
    """Processes that read and decode samples."""
    settings: Mapping[str, Any]
    """All of this as plain values, as the run directory keeps it."""

    def __post_init__(self) -> None:
        one_class = self.samples.class_index is not None and not self.task.returns_loss
        if self.budget.value == "auto" and not one_class:
            raise ConfigError(
                "wrong labels can be counted only where each sample has one class",
                place="budget",
                found="auto",
                expected="a share such as 0.05, or a count",
            )
