"""What is trained to try out how much to leave out: a head on fixed features, or the whole network.

In: the setup of a scan. Out: a ``Probe``: a scan that can be repeated on a part of the samples, the folds,
and the options of the trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import device_of
from ogacli.base.progress import SILENT, Progress
from ogacli.data import Samples
from ogacli.data.arrays import ArrayReader
from ogacli.detectors import DetectorOptions, LabelDetector, LayeredOptions
from ogacli.errors import ConfigError, GradientError, RunError
from ogacli.gradients import GradientOptions
from ogacli.gradients.feed import GradientFeed
from ogacli.models import Model, Network
from ogacli.models.neighbours.exact import compressed
from ogacli.models.sources import NetworkSource, Snapshot
from ogacli.models.sources.mlp import Mlp
from ogacli.models.tasks.classification import Classification
from ogacli.models.training.again import Recipe, recipe_of
from ogacli.models.training.folds import assign
from ogacli.models.training.loop import TrainOptions
from ogacli.scan.retraining.nested import Nested
from ogacli.scan.setup import Setup
from ogacli.verdict.budget import Budget

_HELD = 1 << 28
"""Numbers of all features that may be held: 1 GB. Wider features are projected."""
_INNER = 3
"""Folds of the heads or networks that rank the samples."""
_ROUNDS = 2
"""Times that networks are trained to rank them."""
_HIDDEN = (128,)
_TRAIN = TrainOptions(epochs=20, batch_size=64, learning_rate=0.003, device="cpu")
"""How heads are trained."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A scan that can be repeated without each fold, and the trainings that follow."""

    nested: Nested
    training: TrainOptions
    held: Sequence[Int64[Tensor, " m"]]
    """The rows that each fold holds out."""
    samples: Callable[[int], Samples]
    """The samples as the networks of a fold read them."""
    labels_seen: bool | None = False
    """Whether the features were trained on the labels of the held-out samples; None where that is unknown."""
    notes: tuple[str, ...] = ()
    ranks: bool = False
    """Whether all samples are ranked by ``nested`` in the end; otherwise by the checkpoints of the scan."""


def extent(setup: Setup) -> tuple[int, int, int]:
    """The number of folds, and of the trainings that rank the samples of each, and of those that rank all.

    Nothing is trained.
    """
    options = setup.budget.benefit
    if not _whole(setup):
        snapshots = setup.source.snapshots(setup.samples)
        return len(snapshots) if _crossed(snapshots) else options.folds, _INNER, 0
    probe = network_probe(setup)
    return len(probe.held), probe.nested.trainings, probe.nested.trainings


def probe_of(setup: Setup, progress: Progress = SILENT) -> Probe:
    """The probe of the budget.

    Raises:
        ConfigError: The model cannot be trained, or has no features.
    """
    return network_probe(setup) if _whole(setup) else head_probe(setup, progress)


def _whole(setup: Setup) -> bool:
    """Whether the whole network is trained: a head tells nothing where features have learned the labels."""
    wanted = setup.budget.benefit.probe
    if wanted == "auto":
        return isinstance(setup.source, NetworkSource) and _trained_here(setup) is True
    return wanted == "network"


def network_probe(setup: Setup) -> Probe:
    """The whole network, trained as ``train:`` says.

    Samples are ranked by networks that were not trained on them, which find more of the wrong labels than the
    checkpoints of a training on all samples, and less of what is only hard to learn. A second round is
    trained with weights by the first one, so that it has learned fewer wrong labels.

    Raises:
        ConfigError: The model cannot be trained.
    """
    source, options = setup.source, setup.budget.benefit
    if not isinstance(source, NetworkSource):
        raise ConfigError(
            "this model cannot be trained",
            place="budget.benefit.probe",
            found="network",
            expected="head, or a model that can be trained",
        )
    notes: tuple[str, ...] = ()
    try:
        training = recipe_of(source.checkpoint, setup.samples).options
    except RunError:
        training = setup.train
        notes = (
            "the checkpoint is not of a training by `oga train` on these samples, so that the networks that "
            "rank the samples were trained by `train:`",
        )
    recipe = Recipe(training.model_copy(update={"folds": training.folds or _INNER}))
    held = _folds(setup.samples, options.folds)
    by_label = any(isinstance(one.detector(), LabelDetector) for one in setup.detectors)
    nested = replace(_nested(setup, source, recipe), rounds=_ROUNDS if by_label else 1)
    return Probe(nested, setup.train, held, lambda fold: setup.samples, notes=notes, ranks=True)


def head_probe(setup: Setup, progress: Progress = SILENT) -> Probe:
    """A head on the features of the scan's model.

    The features of a fold are those of the network that was not trained on it, where the scan has such
    networks; otherwise those of the last checkpoint. Heads are trained by cross-validation to rank the other
    samples.

    Raises:
        ConfigError: The model has no features, or the detector compares with validation samples.
    """
    chosen = _detectors(setup)
    snapshots = setup.source.snapshots(setup.samples)
    if _crossed(snapshots):
        held = [snapshot.rows for snapshot in snapshots]
        seen: bool | None = False

        def samples(fold: int) -> Samples:
            return _samples_of(_features(setup, snapshots[fold], progress)[0], setup.samples)

    else:
        held = _folds(setup.samples, setup.budget.benefit.folds)
        features, are_inputs = _features(setup, snapshots[-1], progress)
        seen = False if are_inputs else _trained_here(setup)
        same = _samples_of(features, setup.samples)

        def samples(fold: int) -> Samples:
            return same

    source = Mlp(hidden=_HIDDEN)
    nested = replace(
        _nested(setup, source, Recipe(_TRAIN.model_copy(update={"folds": _INNER}))),
        task=Classification(),
        gradients=GradientOptions(device="cpu"),
        detectors=chosen,
        workers=0,
    )
    return Probe(nested, _TRAIN, held, samples, labels_seen=seen)


def _crossed(snapshots: Sequence[Snapshot]) -> bool:
    """Whether each sample is held out from one of several networks."""
    return len(snapshots) > 1 and all(snapshot.held_out for snapshot in snapshots)


def _nested(setup: Setup, source: NetworkSource, recipe: Recipe) -> Nested:
    return Nested(
        source=source,
        task=setup.task,
        recipe=recipe,
        gradients=setup.gradients,
        detectors=setup.detectors,
        budget=Budget(0.0),
        protect=setup.protect,
        workers=setup.workers,
        settings=setup.settings,
        validation=setup.validation,
    )


def _folds(samples: Samples, count: int) -> list[Int64[Tensor, " m"]]:
    """The rows of each fold, drawn with a fixed seed.

    Raises:
        ConfigError: There are fewer samples than folds.
    """
    try:
        fold_of = assign(samples, count, 0)
    except ConfigError as error:
        raise error.at("budget.benefit.folds") from None
    return [(fold_of == number).nonzero()[:, 0] for number in range(count)]


def _detectors(setup: Setup) -> tuple[DetectorOptions, ...]:
    """The detector that decides, and the first one that suggests labels; of the head's gradient.

    Raises:
        ConfigError: It compares with validation samples.
    """
    first = setup.detectors[0]
    if first.detector().wants_validation:
        raise ConfigError(
            "a detector that compares with validation samples cannot rank by a head",
            place="budget.benefit.probe",
            found="head",
            expected="network",
        )
    labels = [one for one in setup.detectors if isinstance(one.detector(), LabelDetector)][:1]
    several = [first, *(one for one in labels if one is not first)]
    return tuple(
        one.model_copy(update={"layers": None}) if isinstance(one, LayeredOptions) else one for one in several
    )


def _trained_here(setup: Setup) -> bool | None:
    """Whether the checkpoints were trained on the given labels; None where that is unknown."""
    try:
        recipe_of(getattr(setup.source, "checkpoint", None), setup.samples)
    except RunError:
        return None
    return True


def _features(setup: Setup, snapshot: Snapshot, progress: Progress) -> tuple[Float[Tensor, "n h"], bool]:
    """The features of all samples, standardised; NaN for samples that cannot be read.

    Returns:
        The features, and whether they are the inputs, as all parameters are those of the head.

    Raises:
        ConfigError: The model has no features.
    """
    n, device = len(setup.samples), device_of(setup.gradients.device)
    model = snapshot.source.open(setup.samples, device)
    found: Tensor | None = None
    with progress.bar("features", n) as advance:
        for rows, features in _batches(setup, model, device):
            some = compressed(features) if n * features.shape[1] > _HELD else features.float()
            found = torch.full((n, some.shape[1]), torch.nan) if found is None else found
            found[rows] = some.cpu()
            advance(len(rows))
    assert found is not None, "samples that were scored can be read"
    good = found[found.isfinite().all(1)]
    spread = good.std(0, correction=0)
    are_inputs = isinstance(model, Network) and all(
        name.startswith(f"{model.head_name}.") for name, _ in model.module.named_parameters()
    )
    return (found - good.mean(0)) / torch.where(spread > 0, spread, 1), are_inputs


def _batches(
    setup: Setup, model: Model, device: torch.device
) -> Iterator[tuple[Int64[Tensor, " b"], Float[Tensor, "b h"]]]:
    """The rows and features of each batch.

    Raises:
        ConfigError: The model has no features.
    """
    options = setup.gradients.model_copy(update={"layers": "head", "residual": "loss"})
    try:
        feed = GradientFeed(setup.samples, model, setup.task, options, device=device, workers=setup.workers)
        for step in feed(torch.arange(len(setup.samples))):
            if step.gradients is not None and step.gradients.features is not None:
                yield step.gradients.rows, step.gradients.features
            elif step.gradients is not None:
                raise _no_features("none")
    except GradientError as error:
        raise _no_features(str(error)) from None


def _no_features(found: str) -> ConfigError:
    return ConfigError(
        "the model has no features that a head could be trained on",
        place="budget.benefit.probe",
        found=found,
        expected="a model whose last layer is linear, or `features:` of a precomputed one",
        hint="set `budget: {benefit: {probe: network}}` to train whole networks",
    )


def _samples_of(features: Float[Tensor, "n h"], samples: Samples) -> Samples:
    """The samples with features as their inputs."""
    return replace(
        samples,
        positions=torch.arange(len(samples)),
        reader=ArrayReader(features.numpy()),
        signature="features",
    )
