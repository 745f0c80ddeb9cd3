"""How probable each class is among the samples that are nearest to a sample in feature space.

In: batches of samples with features, and how probable each class is for each of them. Out: the same for any
sample by its neighbours, itself left out.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import Bank, compressed, mean_of

_FEWEST = 3
"""Neighbours below which they are not asked: classes have about as many samples in the bank."""
_DOUBT = 0.02
"""The probability that is shared out among all classes, whatever the neighbours are."""


class Neighbourhood:
    """Samples that may be neighbours, and what is known of them."""

    def __init__(
        self,
        rows: Int64[Tensor, " m"],
        features: Float[Tensor, "m d"],
        true: Float[Tensor, "m k"],
        count: int,
    ) -> None:
        """Ask these samples.

        Args:
            rows: Which of all samples they are.
            features: Theirs, compressed.
            true: How probable each class is to be the true one of each.
            count: How many of them answer for a sample.
        """
        self.rows = rows
        self.features = features
        self.true = true
        self.count = count
        self._bank = Bank(rows, features)

    @classmethod
    def among(
        cls, batches: Sequence[GradientBatch], true: Float[Tensor, "m k"], most: int
    ) -> "Neighbourhood | None":
        """Of the first m samples.

        None where they have no features, or their classes too few samples to ask the nearest.

        Args:
            batches: The samples, with compressed features.
            true: How probable each class is to be the true one of each of the first m.
            most: How many answer for a sample, where classes have as many.
        """
        features = [batch.features for batch in batches if batch.features is not None]
        m = len(true)
        rows = torch.cat([batch.rows for batch in batches])[:m]
        count = min(most, m // true.shape[1])
        if len(features) < len(batches) or count < max(1, min(most, _FEWEST)):
            return None
        return cls(rows, torch.cat(features)[:m], true.float(), count)

    def to(self, device: torch.device) -> "Neighbourhood":
        """The same on a device."""
        if self.true.device == device:
            return self
        return Neighbourhood(self.rows, self.features.to(device), self.true.to(device), self.count)

    def __call__(self, batch: GradientBatch) -> Float[Tensor, "b k"]:
        """The logarithm of how probable each class is among a sample's neighbours; float32."""
        assert batch.features is not None, "a model has features for all samples or for none"
        near = self._bank.nearest(batch.rows, compressed(batch.features), self.count)
        found = mean_of(self.true, *near)
        return ((found + _DOUBT / found.shape[1]) / (1 + _DOUBT)).log()

    def state(self) -> dict[str, Tensor]:
        """As tensors on the CPU."""
        return {
            "rows": self.rows,
            "features": self.features.cpu(),
            "true": self.true.cpu(),
            "count": torch.tensor(self.count),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> "Neighbourhood":
        """From what ``state`` gave."""
        return cls(state["rows"], state["features"], state["true"], int(state["count"]))
