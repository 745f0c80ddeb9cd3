"""``oga attribute``: which training samples, or which group of them, a query owes its prediction to.

In: a config with a ``query:`` section, and the trained model. Out: the folder of an ``Attribution``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.atomic import check_free, new_folder
from ogacli.base.device import device_of
from ogacli.base.progress import SILENT, Progress
from ogacli.detectors import LayeredOptions
from ogacli.detectors._influence import InfluenceOptions
from ogacli.errors import ConfigError, DataError
from ogacli.gradients.feed import GradientFeed
from ogacli.scan import load_model
from ogacli.scan.attribution.relation import (
    Sweep,
    auc_and_recall,
    by_cosine,
    by_groups,
    by_influence,
    is_fitted,
)
from ogacli.scan.attribution.result import Attribution, Relation, is_attribution, write_attribution
from ogacli.scan.collect import Collector, finite
from ogacli.scan.passes import column_names

if TYPE_CHECKING:
    from ogacli.config import Config
    from ogacli.data import Samples
    from ogacli.gradients import GradientBatch


def attribute(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Attribution:
    """Relate each query to the training samples, and write what was found.

    Args:
        config: With a ``query:`` section.
        output: The folder to write; ``attribute.output`` where left out.
        overwrite: Replace earlier attributions there.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    folder = attribution_folder(config, output)
    check_free(folder, overwrite=overwrite, ours=is_attribution)
    comparison = _Comparison(config, progress)
    relation = comparison.relation()
    found = comparison.attribution(folder, relation)
    with new_folder(folder, overwrite=overwrite, ours=is_attribution) as work:
        write_attribution(work, found, relation, comparison.training, comparison.queries, config)
    return found


def attribution_folder(config: Config, output: str | Path | None) -> Path:
    """Where the attributions go.

    Raises:
        ConfigError: Neither the config nor the caller says so.
    """
    own = config.attribute.output or (f"{config.output}-attributions" if config.output else None)
    if output is None and own is None:
        raise ConfigError("no output given", hint="add `output: runs/NAME` to the config, or --output DIR")
    return Path(str(output or own)).absolute()


class _Comparison:
    """The training samples and the queries, opened and related."""

    def __init__(self, config: Config, progress: Progress) -> None:
        if config.query is None:
            raise ConfigError(
                "there are no queries", place="query", expected="a section like `data`, of the queries"
            )
        if any(isinstance(one, LayeredOptions) and one.layers is not None for one in config.detectors):
            raise ConfigError(
                "attribution looks at all selected layers",
                place="detector.layers",
                hint="use gradients.layers",
            )
        self.config = config
        self.progress = progress
        self.device = device_of(config.gradients.device)
        given, asked = config.data.open(), config.query.open()
        self.groups, self.group_of = _groups(config, given)
        self.related = _related(given, asked)
        self.training, self.queries = config.model.prepare(given), config.model.prepare(asked)
        if self.training.classes != self.queries.classes:
            raise DataError(
                "the queries have other classes than the training samples",
                place="query",
                found=", ".join(self.queries.classes[:10]) or "none",
                expected=", ".join(self.training.classes[:10]) or "none",
                hint="name them in one order by `classes: [..]` in both sections",
            )
        snapshots = config.model.snapshots(self.training)
        if len(snapshots) > 1:
            raise ConfigError(
                "attribution is that of one set of weights",
                place="model.checkpoint",
                found=f"{len(snapshots)} checkpoints",
                hint="name one of them, such as the last",
            )
        model = load_model(snapshots[0].source, self.training, self.device)
        if not model.reads_inputs:
            raise ConfigError(
                "the model is a table of answers, which has none for queries", place="model.source"
            )
        self._feeds = [
            GradientFeed(config, samples, model, self.device) for samples in (self.training, self.queries)
        ]
        self._lost: list[set[int]] = [set(), set()]
        self._left_out = [
            name
            for name, options in zip(column_names(config), config.detectors, strict=True)
            if self.groups and not isinstance(options, InfluenceOptions) and not is_fitted(options)
        ]
        """Detectors that say the same of every group."""

    def relation(self) -> Relation:
        """How related each query is to each training sample, by every method that applies.

        Raises:
            ConfigError: No method applies.
            DataError: There is no query, or no training sample, with a gradient.
        """
        queries = Sweep(self._compute(1, "queries"), torch.arange(len(self.queries)))
        shape = len(self.queries), len(self.training)
        influence = any(isinstance(options, InfluenceOptions) for options in self.config.detectors)
        order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(0))
        training = Sweep(self._compute(0, "training samples"), order, exact=influence)
        single: dict[str, Float[Tensor, "q n"]] = {}
        grouped: dict[str, Float[Tensor, "q g"]] = {}
        if not self.groups:
            single["cosine"] = by_cosine(self.config.attribute, training, queries, shape)
        members = [(self.group_of == g).nonzero()[:, 0] for g in range(len(self.groups))]
        for name, options in zip(column_names(self.config), self.config.detectors, strict=True):
            if isinstance(options, InfluenceOptions):
                single[name] = by_influence(options, training, queries, shape)
            elif self.groups and name not in self._left_out:
                grouped[name] = by_groups(options, members, training, queries, len(self.queries))
        if not single and not grouped:
            raise ConfigError(
                "no detector is fitted to samples, so none can tell groups apart",
                place="detector",
                found=", ".join(self._left_out),
                expected="one such as gaussian or isolation_forest",
            )
        for own in (*single.values(), *grouped.values()):
            if own.isnan().all():
                raise DataError("no query, or no training sample, has a gradient", place="query")
        return Relation(single, grouped, self.groups, self.group_of, self.related)

    def attribution(self, folder: Path, relation: Relation) -> Attribution:
        """The figures of it."""
        evaluation = {
            name: auc_and_recall(own, self.related) if self.related is not None else (None, None)
            for name, own in relation.each_sample().items()
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
        """What computes gradients of the training samples (0) or the queries (1)."""
        feed, lost = self._feeds[which], self._lost[which]

        def compute(rows: Int64[Tensor, " m"]) -> Iterator[GradientBatch]:
            collector = Collector(len(feed.samples), (), self.device)
            with self.progress.bar(noun, len(rows)) as advance:
                for batch in feed(rows, collector):
                    advance(len(batch))
                    good = finite(batch).cpu()
                    lost.update(batch.rows[~good].tolist())
                    yield batch if good.all() else batch.select(good.nonzero()[:, 0].to(self.device))
            lost.update(collector.quarantined)

        return compute


def _groups(config: Config, given: Samples) -> tuple[tuple[str, ...], Int64[Tensor, " n"]]:
    """The names of the groups that have members, and the group of each training sample."""
    by = config.attribute.group
    if by is None:
        return (), torch.zeros(0, dtype=torch.int64)
    column = given.truth if by == "truth" else given.labels
    if column is None or not given.categorical:
        raise ConfigError(
            "the training samples have no such groups",
            place="attribute.group",
            found=by,
            expected=f"a `{by}` of one class a sample in the data section",
        )
    present, group_of = column.unique(return_inverse=True)
    return tuple(given.classes[i] for i in present.tolist()), group_of


def _related(given: Samples, asked: Samples) -> Bool[Tensor, "q n"] | None:
    """Whether query and training sample are of the same class, the true one where it is known."""
    if not (given.categorical and asked.categorical):
        return None
    number = {name: i for i, name in enumerate(given.classes)}
    own = torch.tensor([number.get(name, -1) for name in asked.classes])
    ours = given.labels if given.truth is None else given.truth
    theirs = own[asked.labels if asked.truth is None else asked.truth]
    return theirs[:, None] == ours
