"""How much of what a forest finds is luck: two halves of its trees, asked about some of the samples.

In: a forest and the batches that it scores. Out: what the halves have in common.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.detectors.forest.forest import Forest
from ogacli.gradients import GradientBatch

ASKED = 2048
"""About so many samples are scored by both halves."""
_HASHED = 1 << 20
_MULTIPLIER = 0x9E3779B1
"""Fibonacci hashing (Knuth, vol. 3, 6.4) spreads rows evenly, so that some are as good as some at random."""


class Spread:
    """The scores that the halves of a forest give some of n samples."""

    def __init__(self, n: int) -> None:
        self._below = _HASHED if n <= ASKED else _HASHED * ASKED // n
        self._seen: list[tuple[Tensor, Tensor]] = []
        """Rows, and what both halves say of them; on the device until they are asked for."""
        self._of: Forest | None = None
        self._halves: tuple[Forest, Forest] | None = None

    def see(self, forest: Forest, batch: GradientBatch) -> None:
        """Let the halves score those of a batch that are asked about."""
        asked = self._asked(batch.rows).nonzero()[:, 0]
        if not len(asked) or len(forest.usual) < 2:
            return
        if self._of is not forest:
            self._of, self._halves = forest, forest.halves()
        assert self._halves is not None
        some = batch.select(asked.to(batch.residual.device))
        scores = torch.stack([half.score(some) for half in self._halves])
        self._seen.append((batch.rows[asked], scores))

    def overlap(self, share: float) -> float | None:
        """The share of the most anomalous samples, of which there are so many, that both halves name."""
        rows, scores = self.state().values()
        count = round(share * len(rows))
        return common(scores[:, rows.argsort(stable=True)], count) if count else None

    def state(self) -> dict[str, Tensor]:
        """As named tensors, on the CPU."""
        rows = [rows for rows, _ in self._seen] or [torch.empty(0, dtype=torch.int64)]
        scores = [scores.cpu() for _, scores in self._seen] or [torch.empty(2, 0, dtype=torch.float64)]
        return {"rows": torch.cat(rows), "scores": torch.cat(scores, 1)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what ``state`` gave."""
        self._seen = [(state["rows"], state["scores"])]

    def _asked(self, rows: Int64[Tensor, " b"]) -> Bool[Tensor, " b"]:
        return (rows * _MULTIPLIER >> 12) % _HASHED < self._below


def common(scores: Float[Tensor, "2 m"], count: int) -> float:
    """The share of the ``count`` highest scores that two rankings have in common."""
    first, second = scores.topk(count).indices
    return int(torch.isin(first, second).sum()) / count
