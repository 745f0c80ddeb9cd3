"""Clocks: the time of a detector, without that of the gradients; and the time of each step of a scan."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Runs while the ``with`` block does, as often as it is entered."""

    def __init__(self) -> None:
        self.total = 0.0
        """Seconds so far."""
        self._began = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.total += time.perf_counter() - self._began

    def without(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time to compute them is not counted."""
        remaining = iter(items)
        while True:
            began = time.perf_counter()
            item = next(remaining, None)
            self.total -= time.perf_counter() - began
            if item is None:
                return
            yield item
            del item  # it may be large


@dataclass
class Clock:
    """The seconds of each step of a scan."""

    started: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    laps: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def resume(self) -> None:
        """Begin a step now; the time since the last one is not counted."""
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End the step of that name."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
