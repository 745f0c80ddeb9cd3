"""The time that a step still takes.

In: how much of the work is done, as it is reported. Out: seconds left. Work is measured in any unit in which
equal amounts take equal time: samples, or characters where samples are texts.
"""

import time
from collections.abc import Callable

_SETTLED = 2
"""From so many reports on, the time of the first one is left out."""


class Pace:
    """The pace of one step.

    Args:
        work: The work of the whole step.
        clock: Returns the time in seconds.
    """

    def __init__(self, work: float, clock: Callable[[], float] | None = None) -> None:
        self._work = work
        self._clock = clock or time.monotonic
        self._began = self._clock()
        self._done = 0.0
        self._reports = 0
        self._at = self._began
        """When the last work was reported."""
        self._first: tuple[float, float] | None = None
        """When the first work was reported, and how much. It takes longer than what follows: worker processes
        start, libraries are initialised, and it may hold the longest samples."""

    def advance(self, work: float) -> None:
        """Note that so much more is done; 0 for what took no time."""
        if work <= 0:
            self._work += work  # what is done already does not have to be done
            return
        self._done += work
        self._reports += 1
        self._at = self._clock()
        if self._first is None:
            self._first = (self._at, self._done)

    @property
    def passed(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds left, at the pace since the first report; None before it."""
        if self._first is None:
            return None
        began, before = self._first
        if self._reports >= _SETTLED:
            pace = (self._at - began) / (self._done - before)
        else:
            pace = (self._at - self._began) / self._done
        ahead = pace * max(0.0, self._work - self._done)
        return max(0.0, ahead - (self._clock() - self._at))
