"""Split-half stability: how far two halves of a forest's trees agree on the most anomalous samples.

In: forests and the batches that they score. Out: the share that the halves have in common; or a forest with
so many trees that they agree.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.detectors.forest.forest import Forest
from ogacli.detectors.forest.forests import Forests
from ogacli.gradients import GradientBatch
from ogacli.gradients.repeated import first

_SAMPLE = 2048
"""About so many samples are scored by both halves."""
_HASHED = 1 << 20
_MULTIPLIER = 0x9E3779B1
"""Fibonacci hashing (Knuth, vol. 3, 6.4) spreads rows evenly, so that the choice is as good as random."""
_MOST = 1600
"""Number of trees at which growing stops."""
_FLAGGED = 0.05
"""The share of the samples whose stability decides."""


class SplitHalf:
    """The scores that the two halves of a forest give a sample of n rows.

    The rows are chosen by their number, whatever the batches.
    """

    def __init__(self, n: int) -> None:
        self._below = _HASHED if n <= _SAMPLE else _HASHED * _SAMPLE // n
        self._seen: list[tuple[Tensor, Tensor]] = []
        """Rows, and their scores by both halves, [2, b]; on the device until they are needed."""
        self._of: Forest | None = None
        self._halves: tuple[Forest, Forest] | None = None

    def see(self, forest: Forest, batch: GradientBatch) -> None:
        """Score the chosen rows of a batch by both halves."""
        chosen = self._chosen(batch.rows).nonzero()[:, 0]
        if not len(chosen) or len(forest.usual) < 2:
            return
        if self._of is not forest:
            self._of, self._halves = forest, forest.halves()
        assert self._halves is not None
        some = batch.taken(chosen, sent(chosen, batch.residual.device))
        scores = torch.stack([half.score(some) for half in self._halves])
        self._seen.append((batch.rows[chosen], scores))

    def note(self, batch: GradientBatch, halves: Float[Tensor, "2 b"]) -> None:
        """Take the scores of a batch by both halves, which are known already."""
        chosen = self._chosen(batch.rows).nonzero()[:, 0]
        if len(chosen):
            self._seen.append((batch.rows[chosen], halves[:, sent(chosen, halves.device)]))

    def overlap(self, share: float) -> float | None:
        """The share that both halves have in common of the most anomalous samples.

        Args:
            share: The fraction of the samples that counts as most anomalous.

        Returns:
            None where that is less than half a sample.
        """
        rows, scores = self.state().values()
        count = round(share * len(rows))
        return in_common(scores, count) if count else None

    def state(self) -> dict[str, Tensor]:
        """Rows, ascending, and scores, on the CPU; of a row that was seen again the last scores."""
        rows = torch.cat([rows for rows, _ in self._seen] or [torch.empty(0, dtype=torch.int64)])
        scores = [scores.cpu() for _, scores in self._seen] or [torch.empty(2, 0, dtype=torch.float64)]
        order = rows.argsort(stable=True)
        last = rows[order].diff(append=torch.full((1,), -1)) != 0
        chosen = order[last]
        return {"rows": rows[chosen], "scores": torch.cat(scores, 1)[:, chosen]}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what ``state`` returned."""
        self._seen = [(state["rows"], state["scores"])]

    def join(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Take what others have seen."""
        self._seen += [(state["rows"], state["scores"]) for state in states]

    def _chosen(self, rows: Int64[Tensor, " b"]) -> Bool[Tensor, " b"]:
        return (rows * _MULTIPLIER >> 12) % _HASHED < self._below


def grown_until_stable(
    grow: Callable[[int], Forests], batches: Iterable[GradientBatch], stable: float
) -> Forests:
    """Double the number of trees until the halves agree, or there are ``_MOST`` trees.

    Args:
        grow: Grows as many trees each time; its argument, counted from 0, stands for other random numbers.
        batches: Samples in random order, of which the first are scored to compare the halves; can be iterated
            several times.
        stable: The agreement that is enough, from 0 to 1.
    """
    forests, rounds = grow(0), 1
    while len(forests.whole.usual) < _MOST and agreement(forests, batches) < stable:
        for number in range(rounds, 2 * rounds):
            forests = forests.joined(grow(number))
        rounds *= 2
    return forests


def agreement(forests: Forests, batches: Iterable[GradientBatch]) -> float:
    """The share that both halves have in common of the most anomalous twentieth of the first samples."""
    halves = forests.halves()
    found = [torch.stack([half.score(batch).cpu() for half in halves]) for batch in first(batches, _SAMPLE)]
    scores = torch.cat(found, 1)
    return in_common(scores, max(1, round(_FLAGGED * scores.shape[1])))


def in_common(scores: Float[Tensor, "2 m"], count: int) -> float:
    """The share of the ``count`` highest scores that two rankings have in common."""
    one, other = scores.topk(count).indices
    return int(torch.isin(one, other).sum()) / count
