"""An isolation forest that grows until what it flags does not change much any more."""

from collections.abc import Iterable

import torch

from ogacli.detectors.forest.forest import Forest
from ogacli.detectors.forest.stability import ASKED, common
from ogacli.detectors.isolation_forest import Isolation, IsolationForest
from ogacli.gradients import GradientBatch
from ogacli.gradients.repeated import first

_TREES, _MOST = 100, 1600
"""Trees that are grown at a time, and at most."""
_FLAGGED = 0.05
"""The part of the samples whose stability decides."""
_SEEDS_APART = 1 << 20
"""Between the trees that are grown at a time, so that seeds side by side have none in common."""


class Growing(Isolation):
    """As many trees as it takes; for each hundred the samples that they are grown from are read once more."""

    def __init__(self, options: IsolationForest) -> None:
        super().__init__(options, _TREES)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Grow, and double until two halves of the trees agree.

        Raises:
            DataError, ConfigError: As a forest of a fixed size.
        """
        super().fit(batches)
        grown = 1
        while grown * _TREES < _MOST and self._agreement(batches) < self.options.stable:
            for number in range(grown, 2 * grown):
                self._join(self._more(number, batches))
            grown *= 2

    def _more(self, number: int, batches: Iterable[GradientBatch]) -> Isolation:
        seed = self.options.seed + number * _SEEDS_APART
        more = Isolation(self.options.model_copy(update={"seed": seed}), _TREES)
        more._expected, more._decided, more._shared = self._expected, self._decided, self._shared
        more.fit(batches)
        return more

    def _join(self, more: Isolation) -> None:
        assert self.forest is not None
        assert more.forest is not None
        self.forest = Forest.merged([self.forest, more.forest])
        for label, forest in more.classes.items():
            self.classes[label] = Forest.merged([self.classes[label], forest])

    def _agreement(self, batches: Iterable[GradientBatch]) -> float:
        """What two halves of the trees have in common of the most anomalous of some samples."""
        assert self.forest is not None
        pairs = {None: self.forest.halves()} | {label: one.halves() for label, one in self.classes.items()}
        found = []
        for batch in first(batches, ASKED):
            scores = torch.empty(2, len(batch), dtype=torch.float64)
            for label in torch.unique(batch.labels).tolist() if self.classes else (None,):
                everyone = torch.arange(len(batch), device=batch.residual.device)
                here = everyone if label is None else everyone[batch.labels == label]
                halves, own = pairs.get(label, pairs[None]), batch.select(here)
                scores[:, here.cpu()] = torch.stack([half.score(own).cpu() for half in halves])
            found.append(scores)
        scores = torch.cat(found, 1)
        return common(scores, max(1, round(_FLAGGED * scores.shape[1])))
