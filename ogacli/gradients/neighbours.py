"""Residuals at the neighbours' mean prediction.

In: the features and predictions of all samples, from one pass. Out: for any batch the logits that stand for
the mean prediction (or mean label) of each sample's nearest neighbours in feature space, the sample itself
left out. A residual taken there shows a wrong label also where the model has memorised it, as the neighbours
have labels of their own.
"""

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


class NeighbourOptions(Options):
    """The ``gradients.neighbours:`` section, for ``residual: neighbours``."""

    count: Annotated[int, Field(ge=1)] = 20
    """How many neighbours the mean is taken over."""
    of: Literal["predictions", "labels"] = "predictions"
    """The mean of what: the model's predictions for the neighbours, or their given labels."""
    bank: Annotated[int, Field(ge=2)] = 50_000
    """Neighbours are searched among at most so many samples, drawn at random from a larger dataset."""
    search: Search = "exact"
    """``faiss``: approximate, on the CPU, for a bank of several hundred thousand; `pip install
    'ogacli[faiss]'`."""
    dim: Annotated[int, Field(ge=1)] = 128
    """Features of more dimensions are projected at random to so many."""
    seed: int = 0
    """Of the random choice and the random projection."""


class Neighbours:
    """The neighbours of each sample, and the mean of their predictions or labels."""

    def __init__(self, options: NeighbourOptions, task: Task, n: int) -> None:
        """An empty bank.

        Args:
            options: How many neighbours, and the mean of what.
            task: Turns logits into predictions and back.
            n: How many samples there are.

        Raises:
            ConfigError: The network returns its loss, and no logits.
        """
        if task.returns_loss:
            raise ConfigError(
                "a model that returns its loss has no predictions to take a mean of",
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
        """Put the samples of a batch into the bank, those that are not finite left out.

        Raises:
            GradientError: The model has no features, or the task knows no targets.
        """
        features = self._projected(batch.features)
        if self.options.of == "labels":
            values = self.task.targets(batch.logits, batch.labels)
        else:
            values = self.task.predictive(batch.logits)
        good = (features.isfinite().all(1) & values.isfinite().all(1)).nonzero()[:, 0]
        self._seen.append((batch.rows[good.cpu()], features[good], values[good]))

    def close(self) -> None:
        """Build the search, once all samples were seen.

        Raises:
            DataError: None of them could be read.
        """
        if not self._seen:
            raise DataError(
                "none of the samples among which neighbours are searched can be read",
                place="gradients.neighbours.bank",
                found=f"{len(self.rows):,} samples, such as number {int(self.rows[0])}",
            )
        rows, features, values = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        self._bank = Bank(rows, features, self.options.search)
        self._values = values

    def __call__(
        self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b h"] | None
    ) -> Float[Tensor, "b k"]:
        """The logits that stand for the neighbours' mean; NaN where a sample has no neighbour.

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
