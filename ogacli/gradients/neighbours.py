"""What is said of a sample's nearest neighbours in feature space, in place of what is said of the sample.

In: the features and answers of all samples, seen in one pass. Out: for any batch the logits that stand for
the mean answer of each sample's neighbours, itself left out. A residual taken there shows a wrong label also
where the model has learned it by heart: the neighbours have labels of their own.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.data import Batch
from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.inverted import Inverted
from ogacli.losses import Loss
from ogacli.options import Options

_QUERIES, _BLOCK = 512, 8192
"""Samples and members of the bank whose distances are in memory at a time: 16 MB."""


class NeighbourOptions(Options):
    """The ``gradients.neighbours:`` section, for ``residual: neighbours``."""

    count: Annotated[int, Field(ge=1)] = 20
    """How many neighbours answer for a sample."""
    of: Literal["predictions", "labels"] = "predictions"
    """What they answer: what the model predicts of them, or their given labels."""
    bank: Annotated[int, Field(ge=2)] = 50_000
    """Neighbours are looked for among at most so many samples, drawn at random from a larger dataset."""
    search: Literal["exact", "faiss"] = "exact"
    """``faiss``: approximate, on the CPU, for a bank of several hundred thousand; `pip install
    'ogacli[faiss]'`."""
    dim: Annotated[int, Field(ge=1)] = 128
    """Features of more numbers are projected at random to so many."""
    seed: int = 0
    """Of the two."""


class Neighbours:
    """A bank of features and answers, and the search in it: exact, in blocks, on the device; or by FAISS."""

    def __init__(self, options: NeighbourOptions, loss: Loss, n: int, device: torch.device) -> None:
        """An empty bank.

        Args:
            options: How many neighbours, and of what.
            loss: What its logits stand for.
            n: How many samples there are.
            device: Where to search.

        Raises:
            ConfigError: The loss is not taken at logits.
        """
        if loss.options.name == "output":
            raise ConfigError(
                "a model that returns its loss has no answers that neighbours could give",
                place="gradients.residual",
                found="neighbours",
                expected="loss",
            )
        self.options = options
        self.loss = loss
        self.device = device
        generator = torch.Generator().manual_seed(options.seed)
        self.rows = torch.randperm(n, generator=generator)[: options.bank].sort().values
        """The samples that may be in the bank, ascending."""
        self._generator = generator
        self._projection: Tensor | None = None
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._place = torch.full((n,), -1)
        self._features = self._answers = self._mean = torch.empty(0)
        self._inverted: Inverted | None = None

    def see(self, batch: GradientBatch) -> None:
        """Put the samples of a batch into the bank, those that are not finite left out.

        Raises:
            GradientError: The model has no features, or its loss no such answers.
        """
        features = self._projected(batch.features)
        if self.options.of == "labels":
            answers = self.loss.targets(batch.logits, batch.labels)
        else:
            answers = self.loss.answers(batch.logits)
        good = (features.isfinite().all(1) & answers.isfinite().all(1)).nonzero()[:, 0]
        self._seen.append((batch.rows[good.cpu()], features[good], answers[good]))

    def close(self) -> None:
        """All samples were seen.

        Raises:
            DataError: None of them could be read.
        """
        if not self._seen:
            raise DataError(
                "none of the samples that neighbours are looked for among can be read",
                place="gradients.neighbours.bank",
                found=f"{len(self.rows):,} samples, such as number {int(self.rows[0])}",
            )
        rows, features, answers = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        self._place[rows] = torch.arange(len(rows))
        self._mean = features.sum(0) / max(1, len(features))
        # Distances are taken by way of inner products, which cancel less about the middle.
        self._features = features.sub_(self._mean)
        self._answers = answers
        if self.options.search == "faiss" and len(features):
            self._inverted = Inverted(self._features)
            self._features = self._features[:0]

    def __call__(
        self, batch: Batch, logits: Float[Tensor, "b k"], features: Float[Tensor, "b h"] | None
    ) -> Float[Tensor, "b k"]:
        """The logits that stand for the neighbours' mean answer; NaN where there is no neighbour.

        Raises:
            GradientError: The model has no features.
        """
        queries = self._projected(features) - self._mean
        own = self._place[batch.rows].to(self.device)
        parts = zip(queries.split(_QUERIES), own.split(_QUERIES), strict=True)
        means = [self._mean_answer(*part) for part in parts]
        return self.loss.logits(torch.cat(means)) if means else logits

    def _mean_answer(self, queries: Float[Tensor, "q d"], own: Int64[Tensor, " q"]) -> Float[Tensor, "q k"]:
        distance, index = self.nearest(queries, own)
        found = distance.isfinite()
        answers = self._answers[index] * found[:, :, None]
        return answers.sum(1) / found.sum(1, keepdim=True)

    def nearest(
        self, queries: Float[Tensor, "q d"], own: Int64[Tensor, " q"]
    ) -> tuple[Float[Tensor, "q c"], Int64[Tensor, "q c"]]:
        """Squared distances (maybe less the query's own square) and places in the bank of the nearest.

        Args:
            queries: Projected features, less their mean.
            own: The place of each query itself, which is left out; -1 where it is not in the bank.
        """
        if self._inverted is not None:
            return self._inverted.nearest(queries, own, self.options.count)
        best = queries.new_full((len(queries), 0), torch.inf)
        where = own.new_zeros(len(queries), 0)
        lines = torch.arange(len(own), device=own.device)
        for start in range(0, len(self._features), _BLOCK):
            block = self._features[start : start + _BLOCK]
            distance = torch.addmm(block.square().sum(1), queries, block.t(), alpha=-2)
            inside = (own >= start) & (own < start + len(block))
            distance[lines[inside], own[inside] - start] = torch.inf
            near = distance.topk(min(self.options.count, len(block)), largest=False)
            best = torch.cat([best, near.values], 1)
            where = torch.cat([where, near.indices + start], 1)
            kept = best.topk(min(self.options.count, best.shape[1]), largest=False)
            best, where = kept.values, where.gather(1, kept.indices)
        return best, where

    def _projected(self, features: Float[Tensor, "b h"] | None) -> Float[Tensor, "b d"]:
        if features is None:
            raise GradientError(
                "without features there are no neighbours",
                place="gradients.residual neighbours",
                found="a model that gives its answers only",
                hint="give `features:` beside the probabilities, or take `residual: loss`",
            )
        h, dim = features.shape[1], self.options.dim
        if h <= dim:
            return features.float()
        if self._projection is None:
            drawn = torch.randn(h, dim, generator=self._generator)
            self._projection = (drawn / dim**0.5).to(self.device)
        return features.float() @ self._projection
