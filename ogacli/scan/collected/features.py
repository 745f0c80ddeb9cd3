"""The features of all samples, where it is asked which ones are far from the others.

In: gradient batches. Out: 520 bytes a sample, and in the end a column of ``Findings``.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import DIM, compressed, units
from ogacli.scan.collected.columns import at_rows, filled, put_at_rows
from ogacli.verdict.far import outstanding

_NEIGHBOUR = 10
"""The distance to this one of the nearest neighbours is judged."""
_QUERIES = 256
"""Samples whose distances are in memory at a time."""


class Features:
    """The features of n samples by the last checkpoint that scored them.

    Args:
        n: How many samples there are; 0 where they are not wanted.
        device: Where they are kept.
    """

    def __init__(self, n: int, device: torch.device) -> None:
        self.values = filled(DIM * n, torch.float32, torch.nan, device).view(n, DIM)
        """Compressed; zeros beyond the number of features; NaN where they are not known."""
        self.checkpoint = filled(n, torch.int64, -1, device)
        """The number of the checkpoint: only features by the same one can be compared."""

    def add(self, batch: GradientBatch, number: int) -> None:
        """Keep the features of a batch by a checkpoint of this number.

        Raises:
            GradientError: The model has none.
        """
        if not len(self.checkpoint):
            return
        if batch.features is None:
            raise GradientError(
                "without features no sample is far",
                place="look_for far",
                found="a model that gives logits only",
                hint="give `features:` beside the probabilities, or leave `far` out",
            )
        features = compressed(batch.features)
        self.values[batch.places] = F.pad(features, (0, DIM - features.shape[1])).to(self.values.device)
        self.checkpoint[batch.places] = number

    def far(
        self, chosen: Int64[Tensor, " m"], classes: Int64[Tensor, " n"] | None
    ) -> Float[Tensor, " n"] | None:
        """How many times the usual distance a sample is from others, where outstanding; NaN elsewhere.

        Args:
            chosen: Rows at random, among which neighbours are searched.
            classes: The given class of each sample, in which it is usual; None without classes.

        Returns:
            None where features are not wanted.
        """
        if not len(self.checkpoint):
            return None
        distance = torch.full((len(self.checkpoint),), torch.nan)
        number = self.checkpoint.cpu()
        for one in number.unique().tolist():
            bank = chosen[number[chosen] == one]
            bank = bank[self.values[bank.to(self.values.device)].isfinite().all(1).cpu()]
            rows = (number == one).nonzero()[:, 0]
            if one >= 0 and len(bank) > _NEIGHBOUR:
                distance[rows] = self._distances(rows, bank)
        group = number if classes is None else number * (int(classes.max()) + 1) + classes
        return outstanding(distance, group)

    def _distances(self, rows: Int64[Tensor, " q"], bank: Int64[Tensor, " m"]) -> Float[Tensor, " q"]:
        """Of some samples to their k-th nearest neighbours in the bank, without themselves."""
        device = self.values.device
        others = self.values[bank.to(device)]
        unit = units(others)
        others, found = others / unit, list[Tensor]()
        for some in rows.split(_QUERIES):
            distance = torch.cdist(self.values[some.to(device)] / unit, others)
            distance = distance.masked_fill((some[:, None] == bank).to(device), torch.inf)
            found.append(distance.topk(_NEIGHBOUR, largest=False).values[:, -1].cpu())
        return torch.cat(found)

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """The features of some rows, by name."""
        return at_rows(self.tensors(), rows)

    def put(self, rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned."""
        put_at_rows(self.tensors(), rows, found)

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        return {"values": self.values, "checkpoint": self.checkpoint} if len(self.checkpoint) else {}
