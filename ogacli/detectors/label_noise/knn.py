"""kNN class probabilities: the mean over the nearest neighbours of a sample in feature space.

In: batches of samples with features, and the class probabilities of those samples. Out: log-probabilities of
the classes for any sample, from its neighbours without the sample itself.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.detectors.label_noise.candidates import Candidates
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
        classes: Int64[Tensor, "m c"] | None,
        true: Float[Tensor, "m e"],
        k: int,
        count: int,
    ) -> None:
        """Index the samples.

        Args:
            rows: Their rows among all samples.
            features: Their compressed features.
            classes: The candidates of each; None where these are all classes.
            true: The probability of each candidate, and then of all other classes, to be the true one.
            k: The number of classes.
            count: The number of neighbours to average over.
        """
        self.rows = rows
        self.features = features
        self.classes = classes
        self.true = true
        self.k = k
        self.count = count
        self._bank = Bank(rows, features)

    @classmethod
    def among(
        cls,
        rows: Int64[Tensor, " m"],
        features: Float[Tensor, "m d"],
        seen: Candidates,
        true: Float[Tensor, "m e"],
        most: int,
    ) -> "NeighbourProbabilities | None":
        """Index some samples.

        Args:
            rows: Their rows among all samples.
            features: Their compressed features.
            seen: Their candidates.
            true: The probability of each entry of these to be the true class.
            most: The number of neighbours to average over; fewer where the classes that occur among the given
                labels have fewer samples on average.

        Returns:
            None where classes have too few samples.
        """
        count = min(most, len(true) // len(seen.labels.unique()))
        if count < max(1, min(most, _FEWEST)):
            return None
        return cls(rows, features, seen.classes, true.float(), seen.k, count)

    def to(self, device: torch.device) -> "NeighbourProbabilities":
        """The same on a device; itself where it is there already."""
        if self.true.device == device:
            return self
        classes = None if self.classes is None else self.classes.to(device)
        features, true = self.features.to(device), self.true.to(device)
        return NeighbourProbabilities(self.rows, features, classes, true, self.k, self.count)

    def __call__(self, batch: GradientBatch) -> Float[Tensor, "b k"]:
        """The smoothed log-probability of each class among a sample's neighbours; float32."""
        assert batch.features is not None, "a model has features for all samples or for none"
        return self.of(batch.places, compressed(batch.features))

    def of(self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """The same for samples of which rows and compressed features are known."""
        near = self._bank.nearest(rows, features, self.count)
        found = mean_of(self.true, *near) if self.classes is None else self._mean(self.classes, *near)
        return ((found + _SMOOTHING / self.k) / (1 + _SMOOTHING)).log()

    def _mean(
        self, classes: Int64[Tensor, "m c"], distance: Float[Tensor, "b s"], where: Int64[Tensor, "b s"]
    ) -> Float[Tensor, "b k"]:
        """The mean of ``true`` over the neighbours; that of other classes is spread evenly over these."""
        weight = distance.isfinite().to(self.true.dtype)
        share = self.true[where] * (weight / weight.sum(1, keepdim=True))[:, :, None]
        even = share[:, :, -1:] / (self.k - classes.shape[1])
        found = even.sum(1).repeat(1, self.k)
        return found.scatter_add_(1, classes[where].flatten(1), (share[:, :, :-1] - even).flatten(1))

    def state(self) -> dict[str, Tensor]:
        """As named tensors on the CPU."""
        found = {
            "rows": self.rows,
            "features": self.features.cpu(),
            "true": self.true.cpu(),
            "k": torch.tensor(self.k),
            "count": torch.tensor(self.count),
        }
        return found if self.classes is None else found | {"classes": self.classes.cpu()}

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> "NeighbourProbabilities":
        """From what ``state`` returned."""
        classes, k, count = state.get("classes"), int(state["k"]), int(state["count"])
        return cls(state["rows"], state["features"], classes, state["true"], k, count)
