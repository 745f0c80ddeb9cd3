"""Score the samples of a dataset by their gradients: the function ``ogacli.scan``.

In: samples and a trained network, as Python objects. Out: a ``ScanResult``. The command ``oga scan`` comes
here from ``ogacli.config.commands``, which opens what its config names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from torch import nn

from ogacli.base.options import Options
from ogacli.base.precision import Precision
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import described, resolve, resolve_all
from ogacli.data import Samples
from ogacli.data.samples import check_samples
from ogacli.detectors import OF_ANNOTATORS, defaults, detectors
from ogacli.gradients import GradientOptions
from ogacli.gradients.neighbours import NeighbourOptions
from ogacli.models.checkpoints.snapshots import Checkpoint, Weights
from ogacli.models.sources import ModelSource
from ogacli.models.sources.in_memory import network_source_of, settings_of, source_of
from ogacli.models.tasks import Task, tasks
from ogacli.models.tasks.classification import Classification
from ogacli.models.training.again import Recipe
from ogacli.models.training.loop import TrainOptions
from ogacli.scan.execute import execute
from ogacli.scan.result import ScanResult
from ogacli.scan.retraining.benefit import chooser
from ogacli.scan.setup import Setup
from ogacli.scan.stopwatch import Clock
from ogacli.verdict.budget import Budget
from ogacli.verdict.look_for import parse_look_for
from ogacli.verdict.protection import DEFAULT as PROTECTED
from ogacli.verdict.protection import Protection, parse_protect
from ogacli.verdict.relabel import Relabel

__all__ = ["ScanResult", "scan"]

Named = str | Mapping[str, Any] | Options
"""A name; a mapping with the name and options; or an options object."""


def scan(
    samples: Samples,
    model: nn.Module | Callable[[], nn.Module] | ModelSource,
    *,
    checkpoint: Weights | None = None,
    loss: Named = "cross_entropy",
    layers: str | list[str] = "head",
    bias: bool = True,
    residual: Literal["loss", "neighbours"] = "loss",
    neighbours: Mapping[str, Any] | NeighbourOptions | None = None,
    detector: Named | Sequence[Named] | None = None,
    budget: float | int | str | Budget = 0.05,
    protect: Protection | float | Mapping[str, Any] = PROTECTED,
    relabel: Relabel | Mapping[str, Any] | None = None,
    look_for: str | Collection[str] = (),
    against: Samples | None = None,
    validation: Samples | None = None,
    folds: int | None = None,
    train: Mapping[str, Any] | TrainOptions | None = None,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    precision: Precision = "float32",
    deterministic: bool = False,
    fold: bool = True,
    compile: bool = False,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
) -> ScanResult:
    """Score every sample; arguments are the YAML keys of the same names.

    Args:
        samples: The dataset, by ``Samples.of``.
        model: The trained network; it is not changed. With ``checkpoint`` or ``folds``: a function that
            returns a network with fresh weights. Or the options of a model source.
        checkpoint: The file of the network's weights; or several of one training, or folds.
        loss: The loss of a sample, such as ``cross_entropy`` or ``{"name": "cross_entropy", ..}``.
        layers: The parameters that gradients are taken of: ``head``, ``all``, or patterns of names.
        bias: With ``layers="head"``: include its bias.
        residual: Take the residual at the sample's own logits (``loss``) or at the mean prediction of its
            nearest ``neighbours``.
        neighbours: Options of ``residual="neighbours"``.
        detector: One or several, by name or with options; the first decides what is flagged. By default
            ``latent_label`` where each sample has one class, with ``l2`` and ``isolation_forest`` beside it;
            elsewhere these two. Without features no ``isolation_forest``.
        budget: How much is flagged: a fraction, a count, ``auto`` (as many as labels are wrong), ``benefit``
            (as many as it helps to leave out, which is tried out), ``{"benefit": {..}}`` or
            ``{"review": 100}``.
        protect: What each class keeps: the keys of the ``protect:`` section, or ``off``.
        relabel: From which probability on a suggested label replaces the given one when the run is trimmed
            with ``relabel``: the keys of the ``relabel:`` section.
        look_for: What to look for beside wrong labels: ``near_duplicates``, ``far``.
        against: Samples of another dataset that should share none with this one, such as the test split.
        validation: Samples with right labels, for detectors that compare with these.
        folds: Train so many networks first, and score each sample by the one that was not trained on it.
        train: Options of that training, and of those of a budget ``benefit``: the keys of the ``train:``
            section.
        batch_size: Samples a batch; results do not depend on it.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``.
        precision: Of the forward and backward pass.
        deterministic: On a GPU the same bits at every run, by slower algorithms where torch has them.
        fold: With ``layers="head"``: merge batch norms into convolutions.
        compile: With ``layers="head"``: run the network under ``torch.compile``.
        workers: Processes that read samples.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the data or the model is not usable.
    """
    clock = Clock()
    check_samples(samples, "samples")
    if validation is not None:
        check_samples(validation, "validation")
    if against is not None:
        check_samples(against, "against")
    task: Task = resolve(tasks, loss, by="name", place="loss")
    gradients = GradientOptions.given(
        {
            "layers": layers,
            "bias": bias,
            "residual": residual,
            "neighbours": neighbours or {},
            "batch_size": batch_size,
            "device": device,
            "precision": precision,
            "deterministic": deterministic,
            "fold": fold,
            "compile": compile,
        },
        "gradients",
    )
    if detector is None:
        features = not isinstance(model, ModelSource) or model.gives_features
        unlabelled = isinstance(task, Classification) and samples.class_index is None
        deciding = OF_ANNOTATORS if samples.annotations is not None else task.deciding
        detector = defaults(None if unlabelled else deciding, features=features)
    chosen = resolve_all(detectors, detector, by="name", place="detector")
    budget = budget if isinstance(budget, Budget) else Budget.parse(budget, "budget")
    protection = parse_protect(protect)
    looked_for = parse_look_for(look_for)
    training = TrainOptions.given(train, "train")
    if folds is not None:
        folds = TrainOptions.given({"folds": folds}, "train").folds
        training = training.model_copy(update={"folds": folds})
    if folds is not None or budget.value == "benefit":
        samples = training.weighted(samples)
    settings = settings_of(
        samples,
        model,
        task,
        detector=[described(options, "name") for options in chosen],
        budget=budget.plain,
        protect=protection,
        look_for=sorted(looked_for),
        relabel=Relabel.given(relabel, "relabel"),
        gradients=gradients,
        **({} if folds is None else {"train": training}),
    )
    if checkpoint is not None:
        settings["model"] |= Checkpoint.given({"checkpoint": checkpoint}, "model").plain()
    crossed = None if folds is None else training
    with _opened(model, checkpoint, samples, task, crossed, workers, progress) as (source, prepared):
        setup = Setup(
            samples=prepared,
            source=source,
            task=task,
            gradients=gradients,
            detectors=chosen,
            budget=budget,
            protect=protection,
            validation=None if validation is None else source.prepare(validation),
            workers=workers,
            settings=settings,
            train=training,
            look_for=looked_for,
            against=None if against is None else source.prepare(against),
        )
        choose = chooser(setup, progress=progress)
        found = execute(setup, weights=source.fingerprints(), clock=clock, choose=choose, progress=progress)
        assert found is not None, "there is a single rank"
        return found


@contextmanager
def _opened(
    model: nn.Module | Callable[[], nn.Module] | ModelSource,
    checkpoint: Weights | None,
    samples: Samples,
    task: Task,
    crossed: TrainOptions | None,
    workers: int | Literal["auto"],
    progress: Progress,
) -> Iterator[tuple[ModelSource, Samples]]:
    """The model, and the samples as it reads them; the checkpoints of folds are deleted after the block."""
    if crossed is None:
        source = source_of(model, checkpoint)
        yield source, source.prepare(samples)
        return
    network = network_source_of(model)
    prepared = network.prepare(samples)
    with TemporaryDirectory() as name:
        trained = Recipe(crossed).trained(
            prepared, network, task, Path(name, "folds"), workers=workers, progress=progress
        )
        yield trained, prepared
