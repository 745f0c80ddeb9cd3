"""Which samples are nearest to others in feature space: exact, in blocks, on the device; or by FAISS.

In: features of the samples that may be neighbours. Out: distances and places of those nearest to any others.
"""

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.models.neighbours.faiss import Inverted

Search = Literal["exact", "faiss"]
DIM = 128
"""Numbers that features are compressed to where nothing else is asked for."""
_FEW, _ONE = 0.1, 1.2
"""Where so small a share of the features has the spread of all, or no more than so many features, they are
compared in units of their own."""
_QUERIES, _BLOCK = 512, 8192
"""Samples and members of the bank whose distances are in memory at a time: 16 MB."""


class Bank:
    """Features of some samples, and the search among them."""

    def __init__(
        self, rows: Int64[Tensor, " m"], features: Float[Tensor, "m d"], search: Search = "exact"
    ) -> None:
        """Close the bank.

        Args:
            rows: Which samples, each once.
            features: Theirs, finite; where they are, the search is.
            search: ``faiss`` is approximate, on the CPU.

        Raises:
            ConfigError: FAISS is asked for and not installed.
        """
        self._place = torch.full((int(rows.max()) + 2 if len(rows) else 1,), -1)
        self._place[rows.cpu()] = torch.arange(len(rows))
        self._mean = features.sum(0) / max(1, len(features))
        self._units = units(features)
        # Distances are taken by way of inner products, which cancel less about the middle.
        self._features = (features - self._mean) / self._units
        self._inverted: Inverted | None = None
        if search == "faiss" and len(features):
            self._inverted = Inverted(self._features)
            self._features = self._features[:0]

    def nearest(
        self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b d"], count: int
    ) -> tuple[Float[Tensor, "b c"], Int64[Tensor, "b c"]]:
        """Squared distances in ``units`` (maybe less the sample's own square) and places of the nearest.

        Fewer than ``count`` where the bank has no more; one that is infinitely far away is none.

        Args:
            rows: Which samples ask. None is a neighbour of itself.
            features: Theirs.
            count: How many neighbours.
        """
        own = self._place[rows.cpu().clamp_max(len(self._place) - 1)].to(features.device)
        queries = (features - self._mean) / self._units
        parts = zip(queries.split(_QUERIES), own.split(_QUERIES), strict=True)
        found = [self._nearest(*part, count) for part in parts]
        return torch.cat([distance for distance, _ in found]), torch.cat([where for _, where in found])

    def _nearest(
        self, queries: Float[Tensor, "q d"], own: Int64[Tensor, " q"], count: int
    ) -> tuple[Float[Tensor, "q c"], Int64[Tensor, "q c"]]:
        if self._inverted is not None:
            return self._inverted.nearest(queries, own, count)
        best = queries.new_full((len(queries), 0), torch.inf)
        where = own.new_zeros(len(queries), 0)
        lines = torch.arange(len(own), device=own.device)
        for start in range(0, len(self._features), _BLOCK):
            block = self._features[start : start + _BLOCK]
            distance = torch.addmm(block.square().sum(1), queries, block.t(), alpha=-2)
            inside = (own >= start) & (own < start + len(block))
            distance[lines[inside], own[inside] - start] = torch.inf
            near = distance.topk(min(count, len(block)), largest=False)
            best = torch.cat([best, near.values], 1)
            where = torch.cat([where, near.indices + start], 1)
            kept = best.topk(min(count, best.shape[1]), largest=False)
            best, where = kept.values, where.gather(1, kept.indices)
        return best, where


def mean_of(
    answers: Float[Tensor, "m k"], distance: Float[Tensor, "b c"], where: Int64[Tensor, "b c"]
) -> Float[Tensor, "b k"]:
    """The mean answer of each sample's neighbours, as ``Bank.nearest`` found them; NaN where it has none.

    Args:
        answers: Of the members of the bank.
        distance: Infinite where a neighbour is none.
        where: Places in the bank.
    """
    means = []
    for near, places in zip(distance.split(_QUERIES), where.split(_QUERIES), strict=True):
        found = near.isfinite().to(answers.dtype)
        means.append(torch.einsum("bc,bck->bk", found, answers[places]) / found.sum(1, keepdim=True))
    return torch.cat(means)


def units(features: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """What features are divided by before they are compared.

    1; but the deviation of each where a few of them have nearly all of the spread, such as the columns of a
    table with the largest numbers. As many as have it: the participation ratio of their variances. Compressed
    features are mixtures, each with a part of all columns: 1.
    """
    if not len(features):
        return features.new_ones(features.shape[1])
    variance = features.double().var(0, correction=0)
    spread = variance.sum().square() / variance.square().sum()
    if not spread < (_FEW * (variance > 0).sum()).clamp_min(_ONE):  # nor where there is no spread at all
        return features.new_ones(features.shape[1])
    return torch.where(variance > 0, variance.sqrt(), 1).to(features.dtype)


def compressed(features: Float[Tensor, "b h"], dim: int = DIM, seed: int = 0) -> Float[Tensor, "b d"]:
    """Features of more numbers than ``dim`` in a seeded random projection; float32."""
    features = features.float()
    h = features.shape[1]
    return features if h <= dim else features @ _projection(h, dim, seed).to(features.device)


@lru_cache
def _projection(h: int, dim: int, seed: int) -> Float[Tensor, "h dim"]:
    return torch.randn(h, dim, generator=torch.Generator().manual_seed(seed)).div(dim**0.5)
