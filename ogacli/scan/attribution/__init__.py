"""Attribution: the training samples, or groups of them, that influence the prediction for a query most.

In: training samples, queries, and the trained model. Out: the folder of an ``Attribution``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ogacli.base.atomic import check_free, new_folder
from ogacli.base.device import device_of
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import described, resolve, resolve_all
from ogacli.data import Samples
from ogacli.data.samples import check_features, check_samples
from ogacli.detectors import ATTRIBUTING, DetectorOptions, LayeredOptions, detectors
from ogacli.detectors._influence import InfluenceOptions
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch, GradientOptions
from ogacli.gradients.feed import GradientFeed
from ogacli.models.sources import ModelSource
from ogacli.models.sources.in_memory import settings_of, source_of
from ogacli.models.tasks import Task, tasks
from ogacli.scan.attribution.folder import is_attribution, write_attribution
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

__all__ = ["Attribution", "attribute", "attribute_samples", "is_attribution"]


def attribute_samples(
    samples: Samples,
    queries: Samples,
    source: ModelSource,
    task: Task,
    *,
    gradients: GradientOptions,
    detectors: Sequence[DetectorOptions],
    options: AttributeOptions,
    output: Path,
    settings: Mapping[str, Any],
    workers: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Attribution:
    """Relate each query to the training samples, and write the result.

    Args:
        samples: The training samples.
        queries: The samples whose predictions are explained, of the same classes.
        source: The model, with one set of weights.
        task: The loss.
        gradients: Options of the gradients, such as the layers.
        detectors: The methods: influence functions, or for groups any detector that is fitted.
        options: The groups, the number of listed samples, and the estimate of the cosine.
        output: The folder to write.
        settings: All options as plain values, kept in the folder.
        workers: Processes that read and decode.
        overwrite: Replace earlier attributions there.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the data or the model is not usable; nothing is written then.
    """
    comparison = _Comparison(samples, queries, source, task, gradients, detectors, options, workers, progress)
    relation = comparison.relation()
    found = comparison.attribution(output, relation)
    with new_folder(output, overwrite=overwrite, ours=is_attribution) as work:
        write_attribution(
            work,
            found,
            relation,
            comparison.training,
            comparison.queries,
            top=options.top,
            settings=settings,
        )
    return found


def attribute(
    samples: Samples,
    queries: Samples,
    model: nn.Module | ModelSource,
    *,
    output: str | Path,
    loss: str | Mapping[str, Any] | Task = "cross_entropy",
    gradients: Mapping[str, Any] | GradientOptions | None = None,
    detector: Any = ATTRIBUTING,
    options: Mapping[str, Any] | AttributeOptions | None = None,
    workers: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Attribution:
    """Relate the prediction of each query to the training samples; the function ``ogacli.attribute``.

    Args:
        samples: The training samples, by ``Samples.of``.
        queries: The samples whose predictions are explained, of the same classes.
        model: The trained network, which is not changed; or the options of a model source.
        output: The folder to write.
        loss: The loss of a sample.
        gradients: The keys of the ``gradients:`` section.
        detector: One or several methods, by name or with options.
        options: The keys of the ``attribute:`` section.
        workers: Processes that read samples.
        overwrite: Replace earlier attributions there.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the data or the model is not usable; nothing is written then.
    """
    check_samples(samples, "samples")
    check_samples(queries, "queries")
    task, source = resolve(tasks, loss, by="name", place="loss"), source_of(model)
    chosen = resolve_all(detectors, detector, by="name", place="detector")
    how, which = GradientOptions.given(gradients, "gradients"), AttributeOptions.given(options, "attribute")
    folder = Path(output).absolute()
    check_free(folder, overwrite=overwrite, ours=is_attribution)
    return attribute_samples(
        samples,
        queries,
        source,
        task,
        gradients=how,
        detectors=chosen,
        options=which,
        output=folder,
        settings=settings_of(
            samples,
            model,
            task,
            query=queries,
            detector=[described(one, "name") for one in chosen],
            gradients=how,
            attribute=which,
        ),
        workers=workers,
        overwrite=overwrite,
        progress=progress,
    )


class _Comparison:
    """The training samples and the queries, opened and related."""

    def __init__(
        self,
        samples: Samples,
        queries: Samples,
        source: ModelSource,
        task: Task,
        gradients: GradientOptions,
        detectors: Sequence[DetectorOptions],
        options: AttributeOptions,
        workers: int | Literal["auto"],
        progress: Progress,
    ) -> None:
        if any(isinstance(one, LayeredOptions) and one.layers is not None for one in detectors):
            raise ConfigError(
                "attribution looks at all selected layers",
                place="detector.layers",
                hint="use gradients.layers",
            )
        self.detectors = dict(zip(column_names(detectors), detectors, strict=True))
        self.options = options
        self.progress = progress
        self.device = device_of(gradients.device)
        self.groups, self.group_of = _groups(options.group, samples)
        self.related = _related(samples, queries)
        self.training, self.queries = source.prepare(samples), source.prepare(queries)
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
        self._feeds = [
            GradientFeed(of, model, task, gradients, device=self.device, workers=workers)
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
