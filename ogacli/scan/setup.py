"""``Setup``: the input of a scan, opened and checked.

In: samples, a model and options, from a config or from Python objects. Out: the input of ``execute`` and
``plan``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.data import Samples
from ogacli.data.labels.label_types import PixelClasses
from ogacli.data.originals import Stamp
from ogacli.detectors import DetectorOptions
from ogacli.errors import ConfigError
from ogacli.gradients import GradientOptions
from ogacli.models.sources import ModelSource
from ogacli.models.tasks import Task
from ogacli.models.tasks.classification import Classification
from ogacli.models.training.loop import TrainOptions
from ogacli.scan.collected.cells import cells_of
from ogacli.verdict.budget import Budget
from ogacli.verdict.look_for import NEAR_DUPLICATES, LookFor
from ogacli.verdict.protection import Protection


@dataclass(frozen=True, slots=True)
class Setup:
    """The samples, the model and the options of a scan.

    Raises:
        ConfigError: The budget counts wrong labels or right predictions, and the labels are of a kind where
        these are not known.
    """

    samples: Samples
    """Prepared for the model."""
    source: ModelSource
    task: Task
    gradients: GradientOptions
    detectors: tuple[DetectorOptions, ...]
    """The first decides what is flagged."""
    budget: Budget
    protect: Protection
    validation: Samples | None
    """Samples with right labels, for detectors that compare with these."""
    workers: int | Literal["auto"]
    """Processes that read and decode samples."""
    settings: Mapping[str, Any]
    """All options as plain values, for the run directory."""
    train: TrainOptions = field(default_factory=TrainOptions)
    """How networks are trained to try out a budget ``benefit``."""
    ranks: Ranks = ALONE
    """The processes that share the scan."""
    look_for: LookFor = frozenset()
    """What is looked for beside wrong labels."""
    against: Samples | None = None
    """Another dataset that should share no sample with this one, prepared for the model."""
    stamp: Stamp | None = None
    """Of the files of the samples, taken before they were read; None where there are none on this machine."""

    @property
    def sketching(self) -> bool:
        """Whether inputs are compared with those of other samples."""
        return NEAR_DUPLICATES in self.look_for or self.against is not None

    def __post_init__(self) -> None:
        if isinstance(self.samples.label_type, PixelClasses) and isinstance(self.task, Classification):
            raise ConfigError(
                "masks have a class a pixel, not one a sample",
                place="loss",
                found="cross_entropy",
                hint="use `loss: pixel_cross_entropy`",
            )
        one_class = self.samples.class_index is not None and not self.task.returns_loss
        counted = self.budget.value == "auto"
        told = one_class or (counted and cells_of(self.detectors[:1], self.samples.labels) > 0)
        if self.budget.value in ("auto", "benefit") and not told:
            raise ConfigError(
                "wrong labels can be counted only where each sample has one class, or the first detector "
                "judges each class or target"
                if counted
                else "right predictions can be counted only where each sample has one class",
                place="budget",
                found=self.budget.value,
                expected="a share such as 0.05, or a count",
            )
