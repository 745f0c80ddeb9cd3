"""A scan that can be repeated without some of the samples, with the training of its checkpoints.

In: samples, a network and the options of a scan. Out: runs of a part of the samples, whose checkpoints were
trained on that part alone. So the held-out samples have no influence on what is flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from ogacli.base.registry import resolve_all
from ogacli.data import Preview, Samples, Unreadable
from ogacli.detectors import DetectorOptions, detectors
from ogacli.errors import RunError
from ogacli.gradients import GradientOptions
from ogacli.models.checkpoints.snapshots import Checkpoint
from ogacli.models.sources import NetworkSource
from ogacli.models.tasks import Task
from ogacli.models.training.again import Recipe, recipe_of
from ogacli.models.training.loop import TrainOptions
from ogacli.run.directory import Run
from ogacli.scan.execute import execute
from ogacli.scan.result import ScanResult
from ogacli.scan.setup import Setup
from ogacli.scan.stopwatch import Clock
from ogacli.verdict.benefit import Chosen
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import Protection, parse_protect

Choose = Callable[[Setup], "Callable[[], Chosen] | None"]
"""For a setup, the function that chooses the amount of a budget ``benefit``."""


@dataclass(frozen=True, slots=True)
class Nested:
    """A scan with the training of its checkpoints."""

    source: NetworkSource
    task: Task
    recipe: Recipe
    """How the checkpoints of the scan are trained."""
    gradients: GradientOptions
    detectors: tuple[DetectorOptions, ...]
    budget: Budget
    protect: Protection
    workers: int | Literal["auto"]
    settings: Mapping[str, Any]
    """All options as plain values, for the run directory."""
    validation: Samples | None = None
    """Samples with right labels, prepared, for detectors that compare with these."""
    choose: Choose = lambda setup: None
    rounds: int = 1
    """How often the checkpoints are trained and scanned: from the second time on, each sample is weighted by
    the probability, by the round before, that its label is right."""

    @property
    def trainings(self) -> int:
        """The number of networks that are trained for one scan."""
        return self.recipe.trainings * self.rounds

    def scanned(self, samples: Samples, folder: Path) -> Run:
        """Train on these samples alone, scan them, and write the run.

        Args:
            samples: A part of the samples, prepared.
            folder: A new folder, for checkpoints and run.

        Raises:
            OgaError: As of a training or a scan.
        """
        return replace(self.found(samples, folder), preview=_no_preview).save(folder / "run")

    def found(self, samples: Samples, folder: Path) -> ScanResult:
        """As :meth:`scanned`, without a run that is written."""
        result = self._round(samples, folder / "round-1", None)
        for number in range(1, self.rounds):
            right = result.verdict.findings.given_label_probability.nan_to_num(1.0)
            result = self._round(samples, folder / f"round-{number + 1}", right)
        return result

    def _round(self, samples: Samples, folder: Path, weights: Float[Tensor, " n"] | None) -> ScanResult:
        """One training of the checkpoints, and their scan."""
        trained = self.recipe.trained(
            samples, self.source, self.task, folder, weights=weights, workers=self.workers
        )
        setup = Setup(
            samples=samples,
            source=trained,
            task=self.task,
            gradients=self.gradients,
            detectors=self.detectors,
            budget=self.budget,
            protect=self.protect,
            validation=self.validation,
            workers=self.workers,
            settings=self.settings,
        )
        found = execute(setup, weights={}, clock=Clock(), choose=self.choose(setup))
        assert found is not None, "there is a single rank"
        return found


def repeated(
    run: Run,
    samples: Samples,
    source: NetworkSource,
    task: Task,
    *,
    budget: Budget | None,
    validation: Samples | None,
    workers: int | Literal["auto"],
    choose: Choose,
) -> Nested:
    """The scan of a run, to be repeated on a part of its samples.

    Args:
        run: The run.
        samples: All of its samples, prepared.
        source: Builds its network.
        task: The loss.
        budget: Replaces that of the run.
        validation: The validation samples of the scan, prepared.
        workers: Processes that read.
        choose: Chooses the amount of a budget ``benefit``.

    Raises:
        RunError: It cannot be repeated: its checkpoints are from elsewhere, or it had validation samples that
            are not given.
    """
    settings = run.config
    if settings.get("validation") is not None and validation is None:
        raise RunError("the scan had validation samples, which are not at hand", place=str(run.path))
    return Nested(
        source=source,
        task=task,
        recipe=_recipe(settings, samples),
        gradients=GradientOptions.given(settings.get("gradients"), "gradients"),
        detectors=resolve_all(detectors, settings["detector"], by="name", place="detector"),
        budget=budget or Budget.parse(settings["budget"]),
        protect=parse_protect(settings.get("protect", "off")),
        workers=workers,
        settings=settings,
        validation=validation,
        choose=choose,
    )


def _recipe(settings: Mapping[str, Any], samples: Samples) -> Recipe:
    """How the checkpoints of a run were trained, by its settings."""
    checkpoint, train = settings["model"].get("checkpoint"), settings.get("train") or {}
    if checkpoint is None and train.get("folds"):  # a scan from Python, whose checkpoints are gone
        return Recipe(TrainOptions.given(train, "train"))
    return recipe_of(Checkpoint.given({"checkpoint": checkpoint}, "model").checkpoint, samples)


def _no_preview(row: int) -> Preview:
    raise Unreadable("the previews of a repeated scan are not kept")
