"""Batches of gradients that detectors may go through several times."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ogacli.gradients.batch import GradientBatch


@dataclass(frozen=True, slots=True)
class Repeated:
    """Batches that are made anew each time they are gone through."""

    begin: Callable[[], Iterator[GradientBatch]]

    def __iter__(self) -> Iterator[GradientBatch]:
        return self.begin()


def first(batches: Iterable[GradientBatch], count: int) -> Iterator[GradientBatch]:
    """The batches up to so many samples."""
    for batch in batches:
        yield batch.select(slice(0, count)) if len(batch) > count else batch
        count -= len(batch)
        if count <= 0:
            return
