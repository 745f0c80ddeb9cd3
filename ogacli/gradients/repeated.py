"""Gradient batches that can be iterated several times.

In: a function that computes them. Out: an iterable, whose batches are held in memory where they fit.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.layers.linear import Plain
from ogacli.gradients.products import blocks


class Repeated:
    """Batches that are computed again at each iteration, unless they fit in memory.

    Args:
        compute: Computes the batches.
        hold: Bytes of gradients that may be held from the first iteration on.
        exact: Hold them in float64, the precision in which sums of products are taken.
    """

    def __init__(
        self, compute: Callable[[], Iterable[GradientBatch]], *, hold: int = 0, exact: bool = False
    ) -> None:
        self._compute = compute
        self._hold = hold
        self._exact = exact
        self._held: list[GradientBatch] | None = None

    def __iter__(self) -> Iterator[GradientBatch]:
        if self._held is not None:
            yield from self._held
            return
        held: list[GradientBatch] = []
        size = 0
        for batch in self._compute():
            if self._hold:
                batch = smallest(batch, exact=self._exact)
                size += batch.nbytes
                held.append(batch)
                if size > self._hold:
                    held.clear()
                    self._hold = 0
            yield batch
            del batch  # before the next one is computed
        if self._hold:
            self._held = held

    def held(self) -> list[GradientBatch] | None:
        """The batches if they fit in memory, else None; iterates once where that is not known yet."""
        if self._hold and self._held is None:
            for _ in self:
                pass
        return self._held


def smallest(batch: GradientBatch, *, exact: bool = False) -> GradientBatch:
    """The batch with its gradients formed, where these take less memory than their factors."""
    if batch.nbytes <= (8 if exact else 4) * len(batch) * batch.p:
        return batch
    values = [part.dense() for part in blocks(batch)]
    parts = [Plain(one.double() if exact else one) for one in values]
    return replace(batch, features=None, parts=parts, columns=None)


def first(batches: Iterable[GradientBatch], count: int) -> Iterator[GradientBatch]:
    """The first ``count`` samples of some batches."""
    for batch in batches:
        yield batch.select(slice(0, count)) if len(batch) > count else batch
        count -= len(batch)
        if count <= 0:
            return
