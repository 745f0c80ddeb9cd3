"""kNN class probabilities: the mean over the nearest neighbours of a sample in feature space.

In: batches of samples with features, and the class probabilities of those samples. Out: log-probabilities of
the classes for any sample, from its neighbours without the sample itself.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import Bank, compressed, mean_of

_FEWEST = 3
"""With fewer neighbours there is no estimate. Classes have about as many samples among those searched."""
_SMOOTHING = 0.02
"""Probability that is spread evenly over all classes before it is normalised."""


class NeighbourProbabilities:
    """Class probabilities of a set of samples, averaged over the nearest of them."""

    def __init__(
        self,
        rows: Int64[Tensor, " m"],
        features: Float[Tensor, "m d"],
        true: Float[Tensor, "m k"],
        count: int,
    ) -> None:
        """Index the samples.

        Args:
            rows: Their rows among all samples.
            features: Their compressed features.
            true: The probability of each class to be their true one.
            count: The number of neighbours to average over.
        """
        self.rows = rows
        self.features = features
        self.true = true
        self.count = count
        self._bank = Bank(rows, features)

    @classmethod
    def among(
        cls, batches: Sequence[GradientBatch], true: Float[Tensor, "m k"], most: int
    ) -> "NeighbourProbabilities | None":
        """Index the first m samples of some batches.

        Args:
            batches: The samples, with compressed features.
            true: The probability of each class to be the true one, for each of the first m.
            most: The number of neighbours to average over; fewer where classes have fewer samples on average.

        Returns:
            None where the samples have no features, or classes have too few samples.
        """
        features = [batch.features for batch in batches if batch.features is not None]
        m = len(true)
        rows = torch.cat([batch.rows for batch in batches])[:m]
        count = min(most, m // true.shape[1])
        if len(features) < len(batches) or count < max(1, min(most, _FEWEST)):
            return None
        return cls(rows, torch.cat(features)[:m], true.float(), count)

    def to(self, device: torch.device) -> "NeighbourProbabilities":
        """The same on a device; itself where it is there already."""
        if self.true.device == device:
            return self
        return NeighbourProbabilities(self.rows, self.features.to(device), self.true.to(device), self.count)

    def __call__(self, batch: GradientBatch) -> Float[Tensor, "b k"]:
        """The smoothed log-probability of each class among a sample's neighbours; float32."""
        assert batch.features is not None, "a model has features for all samples or for none"
        near = self._bank.nearest(batch.rows, compressed(batch.features), self.count)
        found = mean_of(self.true, *near)
        return ((found + _SMOOTHING / found.shape[1]) / (1 + _SMOOTHING)).log()

    def state(self) -> dict[str, Tensor]:
        """As named tensors on the CPU."""
        return {
            "rows": self.rows,
            "features": self.features.cpu(),
            "true": self.true.cpu(),
            "count": torch.tensor(self.count),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> "NeighbourProbabilities":
        """From what ``state`` returned."""
        return cls(state["rows"], state["features"], state["true"], int(state["count"]))
