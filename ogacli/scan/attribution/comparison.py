"""The training samples and the queries of an attribution, opened and related.

In: a ``Setup``. Out: a ``Relation``, and an ``Attribution``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.device import device_of
from ogacli.base.progress import Progress
from ogacli.data import Samples
from ogacli.data.samples import check_features
from ogacli.detectors import DetectorOptions, LayeredOptions
from ogacli.detectors._influence import InfluenceOptions
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch, GradientOptions
from ogacli.gradients.feed import GradientFeed
from ogacli.models.sources import ModelSource
from ogacli.models.tasks import Task
from ogacli.scan.alignment import check_outputs
from ogacli.scan.attribution.methods import (
    Gradients,
    auc_and_recall,
    by_cosine,
    by_groups,
    by_influence,
    is_fitted,
)
from ogacli.scan.attribution.options import AttributeOptions
from ogacli.scan.attribution.relation import Relation
from ogacli.scan.attribution.result import Attribution
from ogacli.scan.scorers import column_names


@dataclass(frozen=True, slots=True)
class Setup:
    """The training samples, the queries, the model and the options of an attribution."""

    samples: Samples
    """The training samples."""
    queries: Samples
    """The samples whose predictions are explained, of the same classes."""
    source: ModelSource
    """The model, with one set of weights."""
    task: Task
    """The loss."""
    gradients: GradientOptions
    detectors: Sequence[DetectorOptions]
    """The methods: influence functions, or for groups any detector that is fitted."""
    options: AttributeOptions
    """The groups, the number of listed samples, and the estimate of the cosine."""
    settings: Mapping[str, Any]
    """All options as plain values, kept in the folder."""
    workers: int | Literal["auto"] = "auto"
    """Processes that read and decode."""


class Comparison:
    """The training samples and the queries, opened and related."""

    def __init__(self, setup: Setup, progress: Progress) -> None:
        if any(isinstance(one, LayeredOptions) and one.layers is not None for one in setup.detectors):
            raise ConfigError(
                "attribution looks at all selected layers",
                place="detector.layers",
                hint="use gradients.layers",
            )
        self.detectors = dict(zip(column_names(setup.detectors), setup.detectors, strict=True))
        self.options = setup.options
        self.progress = progress
        self.device = device_of(setup.gradients.device)
        self.groups, self.group_of = _groups(setup.options.group, setup.samples)
        self.related = _related(setup.samples, setup.queries)
        source = setup.source
        self.training, self.queries = source.prepare(setup.samples), source.prepare(setup.queries)
        if self.training.classes != self.queries.classes:
            raise DataError(
                "the queries have other classes than the training samples",
                place="query",
                found=", ".join(self.queries.classes[:10]) or "none",
                expected=", ".join(self.training.classes[:10]) or "none",
                hint="name them in one order by `classes: [..]` in both sections",
            )
        check_features(self.training, self.queries, "query")
        snapshots = source.snapshots(self.training)
        if len(snapshots) > 1:
            raise ConfigError(
                "attribution is that of one set of weights",
                place=f"model.{snapshots[0].key}",
                found=f"{len(snapshots)} checkpoints",
                hint=f"name one of them, such as the last, {snapshots[-1].name}",
            )
        model = snapshots[0].source.open(self.training, self.device)
        if not model.reads_inputs:
            raise ConfigError(
                "the model is a table of outputs, which has none for queries", place="model.source"
            )
        device, workers = self.device, setup.workers
        self._suspected = None
        if not source.trained_on(self.training.classes):
            given = (self.training, setup.settings)
            self._suspected = check_outputs(model, setup.task, *given, device=device, workers=workers)
        self._feeds = [
            GradientFeed(of, model, setup.task, setup.gradients, device=device, workers=workers)
            for of in (self.training, self.queries)
        ]
        self._lost: list[dict[int, str]] = [{}, {}]
        self._left_out = [
            name
            for name, one in self.detectors.items()
            if self.groups and not isinstance(one, InfluenceOptions) and not is_fitted(one)
        ]
        """Detectors without a fit, whose score is the same for every group."""

    def relation(self) -> Relation:
        """How related each query is to each training sample, by every method that applies.

        Raises:
            ConfigError: No method applies.
            DataError: There is no query, or no training sample, with a gradient.
        """
        queries = Gradients(self._compute(1, "queries"), torch.arange(len(self.queries)))
        shape = len(self.queries), len(self.training)
        influence = any(isinstance(one, InfluenceOptions) for one in self.detectors.values())
        order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(0))
        training = Gradients(self._compute(0, "training samples"), order, exact=influence)
        single: dict[str, Float[Tensor, "q n"]] = {}
        grouped: dict[str, Float[Tensor, "q g"]] = {}
        if not self.groups:
            single["cosine"] = by_cosine(self.options, training, queries, shape)
        members = [(self.group_of == g).nonzero()[:, 0] for g in range(len(self.groups))]
        for name, one in self.detectors.items():
            if isinstance(one, InfluenceOptions):
                single[name] = by_influence(one, training, queries, shape)
            elif self.groups and name not in self._left_out:
                grouped[name] = by_groups(one, members, training, queries, len(self.queries))
        if not single and not grouped:
            raise ConfigError(
                "no detector is fitted to samples, so none can tell groups apart",
                place="detector",
                found=", ".join(self._left_out),
                expected="one such as gaussian or isolation_forest",
            )
        for scores in (*single.values(), *grouped.values()):
            if scores.isnan().all():
                raise DataError("no query, or no training sample, has a gradient", place="query")
        return Relation(single, grouped, self.groups, self.group_of, self.related)

    def attribution(self, folder: Path, relation: Relation) -> Attribution:
        """The result in figures."""
        evaluation = {
            name: auc_and_recall(scores, self.related) if self.related is not None else (None, None)
            for name, scores in relation.each_sample().items()
        }
        parameters = self._feeds[0].gradients.parameters
        return Attribution(
            folder=folder,
            queries=len(self.queries),
            training=len(self.training),
            quarantined=sum(map(len, self._lost)),
            parameters=sum(parameters.values()),
            groups=self.groups,
            evaluation={name: {"auc": auc, "recall": recall} for name, (auc, recall) in evaluation.items()},
            notes=tuple(dict.fromkeys(note for feed in self._feeds for note in feed.notes))
            + (() if self._suspected is None else (self._suspected,))
            + tuple(
                f"{name} is not fitted to samples: it cannot tell groups apart" for name in self._left_out
            ),
        )

    def _compute(self, which: int, noun: str) -> Callable[[Int64[Tensor, " m"]], Iterator[GradientBatch]]:
        """A function that computes gradients of the training samples (0) or the queries (1)."""
        feed, lost = self._feeds[which], self._lost[which]

        def compute(rows: Int64[Tensor, " m"]) -> Iterator[GradientBatch]:
            with self.progress.bar(noun, len(rows)) as advance:
                for batch in feed.finite(rows, lost):
                    advance(len(batch))
                    yield batch
                    del batch

        return compute


def _groups(
    by: Literal["label", "truth"] | None, samples: Samples
) -> tuple[tuple[str, ...], Int64[Tensor, " n"]]:
    """The names of the groups that have members, and the group of each training sample."""
    if by is None:
        return (), torch.zeros(0, dtype=torch.int64)
    column = samples.truth if by == "truth" else samples.labels
    if column is None or samples.class_index is None:
        raise ConfigError(
            "the training samples have no such groups",
            place="attribute.group",
            found=by,
            expected=f"a `{by}` of one class a sample in the data section",
        )
    present, group_of = column.unique(return_inverse=True)
    return tuple(samples.classes[i] for i in present.tolist()), group_of


def _related(training: Samples, queries: Samples) -> Bool[Tensor, "q n"] | None:
    """Whether query and training sample are of the same class, the true one where it is known."""
    if training.class_index is None or queries.class_index is None:
        return None
    index = {name: i for i, name in enumerate(training.classes)}
    among_training = torch.tensor([index.get(name, -1) for name in queries.classes])
    of_training = training.labels if training.truth is None else training.truth
    of_queries = among_training[queries.labels if queries.truth is None else queries.truth]
    return of_queries[:, None] == of_training
