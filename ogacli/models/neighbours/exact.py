"""k nearest neighbours in feature space: exact, in blocks, on the device; or approximate, by FAISS.

In: features of the samples that may be neighbours (the bank). Out: squared distances and indices into the
bank.
"""

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.models.neighbours.faiss import Inverted

Search = Literal["exact", "faiss"]
DIM = 128
"""Dimensions that features are projected to by default."""
_FEW, _ONE = 0.1, 1.2
"""Features are standardised where the participation ratio of their variances is below this share of their
number, or below this number."""
_QUERIES, _QUERIES_ELSEWHERE, _BLOCK = 512, 4096, 8192
"""Queries, and members of the bank, whose distances are in memory at the same time: 16 MB, on a GPU 128."""


class Bank:
    """The features of some samples, and the search for nearest neighbours among them."""

    def __init__(
        self, rows: Int64[Tensor, " m"], features: Float[Tensor, "m d"], search: Search = "exact"
    ) -> None:
        """Build the search.

        Args:
            rows: Which samples, each once.
            features: Their features, finite; the search runs on their device.
            search: ``exact``; or ``faiss``, approximate, on the CPU.

        Raises:
            ConfigError: ``search`` is ``faiss``, which is not installed.
        """
        place = torch.full((int(rows.max()) + 2 if len(rows) else 1,), -1)
        place[rows.cpu()] = torch.arange(len(rows))
        self._place = place.to(features.device)
        self._mean = features.sum(0) / max(1, len(features))
        self._units = units(features)
        # Distances are computed from inner products, whose rounding errors are smaller for centred features.
        self._features = (features - self._mean) / self._units
        self._inverted: Inverted | None = None
        if search == "faiss" and len(features):
            self._inverted = Inverted(self._features)
            self._features = self._features[:0]

    def nearest(
        self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b d"], count: int
    ) -> tuple[Float[Tensor, "b c"], Int64[Tensor, "b c"]]:
        """The nearest members of the bank: squared distances in ``units``, and indices into the bank.

        The exact search omits the squared norm of the query from the distances. There are fewer columns than
        ``count`` where the bank is smaller. Where a neighbour is missing the distance is infinite.

        Args:
            rows: The rows of the queries; a sample is not a neighbour of itself.
            features: The features of the queries.
            count: How many neighbours.
        """
        own = self._place[sent(rows, features.device).clamp_max(len(self._place) - 1)]
        queries = (features - self._mean) / self._units
        size = _at_once(features.device)
        parts = zip(queries.split(size), own.split(size), strict=True)
        distances, indices = zip(*(self._nearest(*part, count) for part in parts), strict=True)
        return torch.cat(distances), torch.cat(indices)

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
            column = (own - start).clamp(0, len(block) - 1)
            at = own == column + start
            distance[lines, column] = distance[lines, column].masked_fill(at, torch.inf)
            near = distance.topk(min(count, len(block)), largest=False)
            best = torch.cat([best, near.values], 1)
            where = torch.cat([where, near.indices + start], 1)
            kept = best.topk(min(count, best.shape[1]), largest=False)
            best, where = kept.values, where.gather(1, kept.indices)
        return best, where


def mean_of(
    values: Float[Tensor, "m k"], distance: Float[Tensor, "b c"], where: Int64[Tensor, "b c"]
) -> Float[Tensor, "b k"]:
    """The mean value of each sample's neighbours; NaN where it has none.

    Args:
        values: Of the members of the bank.
        distance: Squared distances from ``Bank.nearest``; infinite where there is no neighbour.
        where: Indices into the bank from ``Bank.nearest``.
    """
    means, size = [], _at_once(distance.device)
    for near, places in zip(distance.split(size), where.split(size), strict=True):
        found = near.isfinite().to(values.dtype)
        means.append(torch.einsum("bc,bck->bk", found, values[places]) / found.sum(1, keepdim=True))
    return torch.cat(means)


def _at_once(device: torch.device) -> int:
    return _QUERIES if device.type == "cpu" else _QUERIES_ELSEWHERE


def units(features: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """The divisor of each feature before distances are computed.

    It is the standard deviation where a few features have nearly all of the variance, as the columns with the
    largest numbers in a table do; otherwise 1. The number of features that share the variance is measured by
    the participation ratio of the variances. Projected features mix all columns, so their divisor is 1.
    """
    if not len(features):
        return features.new_ones(features.shape[1])
    variance = features.double().var(0, correction=0)
    spread = variance.sum().square() / variance.square().sum()
    if not spread < (_FEW * (variance > 0).sum()).clamp_min(_ONE):  # NaN where there is no variance at all
        return features.new_ones(features.shape[1])
    return torch.where(variance > 0, variance.sqrt(), 1).to(features.dtype)


def compressed(features: Float[Tensor, "b h"], dim: int = DIM, seed: int = 0) -> Float[Tensor, "b d"]:
    """Features in float32; above ``dim`` dimensions a seeded random projection to ``dim``."""
    features = features.float()
    h = features.shape[1]
    return features if h <= dim else features @ _projection(h, dim, seed, features.device)


@lru_cache
def _projection(h: int, dim: int, seed: int, device: torch.device) -> Float[Tensor, "h dim"]:
    with torch.inference_mode(False):
        drawn = torch.randn(h, dim, generator=torch.Generator().manual_seed(seed))
        return drawn.div(dim**0.5).to(device)
