"""Residuals at the neighbours' mean prediction.

In: the features and predictions of all samples, from one pass. Out: for any batch, as logits, the mean
prediction (or mean label) of each sample's nearest neighbours in feature space, without the sample itself. A
residual taken at these logits reveals a wrong label even where the model has memorised it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.base.options import Options
from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.gradients.batch import GradientBatch
from ogacli.models.neighbours.exact import Bank, Search, compressed, mean_of
from ogacli.models.tasks import Task

_SEEN = ("rows", "features", "values")
"""What is known of the samples of the bank."""


class NeighbourOptions(Options):
    """The ``gradients.neighbours:`` section, for ``residual: neighbours``."""

    count: Annotated[int, Field(ge=1)] = 20
    """Number of neighbours."""
    of: Literal["predictions", "labels"] = "predictions"
    """What is averaged: the model's predictions for the neighbours, or their given labels."""
    bank: Annotated[int, Field(ge=2)] = 50_000
    """Most samples among which neighbours are searched; from a larger dataset they are drawn at random."""
    search: Search = "exact"
    """``faiss``: approximate, on the CPU, for a bank of several hundred thousand; `pip install
    'ogacli[faiss]'`."""
    dim: Annotated[int, Field(ge=1)] = 128
    """Features with more dimensions are projected at random to this number."""
    seed: int = 0
    """Seed of the random choice and the random projection."""


class Neighbours:
    """Mean prediction or label of the nearest neighbours of a sample."""

    def __init__(self, options: NeighbourOptions, task: Task, n: int) -> None:
        """An empty bank.

        Args:
            options: Number of neighbours, and what is averaged.
            task: Converts logits to predictions and back.
            n: Number of samples in the dataset.

        Raises:
            ConfigError: The network returns its loss, and no logits.
        """
        if task.returns_loss:
            raise ConfigError(
                "a model that returns its loss has no predictions to average",
                place="gradients.residual",
                found="neighbours",
                expected="loss",
            )
        self.options = options
        self.task = task
        generator = torch.Generator().manual_seed(options.seed)
        self.rows = torch.randperm(n, generator=generator)[: options.bank].sort().values
        """The samples that may be in the bank, ascending."""
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._bank: Bank | None = None
        self._values = torch.empty(0)

    def see(self, batch: GradientBatch) -> None:
        """Add the samples of a batch to the bank, except those with values that are not finite.

        Raises:
            GradientError: The model has no features, or the task has no targets.
        """
        features = self._projected(batch.features)
        if self.options.of == "labels":
            values = self.task.targets(batch.logits, batch.labels)
        else:
            values = self.task.predictive(batch.logits)
        good = (features.isfinite().all(1) & values.isfinite().all(1)).nonzero()[:, 0]
        self._seen.append((batch.rows[good.cpu()], features[good], values[good]))

    def seen(self) -> dict[str, Tensor]:
        """What was added, for another process; nothing where no sample was."""
        parts = [torch.cat(several) for several in zip(*self._seen, strict=True)]
        return dict(zip(_SEEN, parts, strict=True)) if parts else {}

    def join(self, seen: Mapping[str, Tensor], device: torch.device) -> None:
        """Add what another process has seen."""
        if seen:
            rows, features, values = (seen[name] for name in _SEEN)
            self._seen.append((rows, features.to(device), values.to(device)))

    def close(self) -> None:
        """Build the search, after all samples were added.

        Raises:
            DataError: No sample could be read.
        """
        if not self._seen:
            raise DataError(
                "none of the samples among which neighbours are searched can be read",
                place="gradients.neighbours.bank",
                found=f"{len(self.rows):,} samples, such as number {int(self.rows[0])}",
            )
        rows, features, values = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        order = rows.argsort()  # whoever has seen them
        here = order.to(features.device)
        self._bank = Bank(rows[order], features[here], self.options.search)
        self._values = values[here]

    def __call__(
        self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b h"] | None
    ) -> Float[Tensor, "b k"]:
        """The neighbours' mean prediction as logits; NaN where a sample has no neighbour.

        Raises:
            GradientError: The model has no features.
        """
        assert self._bank is not None, "close first"
        near = self._bank.nearest(rows, self._projected(features), self.options.count)
        return self.task.logits_of(mean_of(self._values, *near))

    def _projected(self, features: Float[Tensor, "b h"] | None) -> Float[Tensor, "b d"]:
        if features is None:
            raise GradientError(
                "without features there are no neighbours",
                place="gradients.residual neighbours",
                found="a model that gives logits only",
                hint="give `features:` beside the probabilities, or take `residual: loss`",
            )
        return compressed(features, self.options.dim, self.options.seed)
