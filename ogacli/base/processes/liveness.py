"""Signs of life of the ranks, and how they learn that one of them has ended.

In: a store that all ranks know. Out: an interruption of this process, and which rank has ended how. Each rank
watches the one before it; the last one is before the first.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ogacli.base.processes.interrupting import Interruption
from ogacli.errors import RunError

GRACE = 15.0
"""Seconds in which a rank that was told to end must react."""
_EVERY = 1.0
"""Seconds between two signs of life."""
_SILENT = 40.0
"""A rank without a sign of life for so many seconds counts as dead."""
_SOON = 5.0
"""The same, where a connection was closed."""
_ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rank has ended before the others."""

    kind: Literal["error", "death", "interrupted"]
    rank: int
    """-1 where it is not known."""

    def message(self, own: int, count: int) -> RunError:
        """What another rank tells of a death."""
        who = f"rank {self.rank} was killed, or its machine is out of reach"
        return RunError(
            "one of the processes that share this command has ended without a word",
            place=f"rank {own} of {count}",
            found=who if self.rank >= 0 else "a closed connection",
            hint="if it ran out of memory, start fewer processes; --resume goes on with what was saved",
        )


class Watch(threading.Thread):
    """Gives signs of life, and notices when another rank has ended.

    Args:
        store: A connection of its own to what the ranks know in common.
        rank: This one.
        count: Of all ranks.
        died: Returns a rank whose process has ended, where this process can see that.
        interruption: Interrupts the main thread.
    """

    def __init__(
        self, store: Any, rank: int, count: int, died: Callable[[], int | None], interruption: Interruption
    ) -> None:
        super().__init__(name="oga ranks", daemon=True)
        self.ended: Ended | None = None
        """What this rank knows."""
        self._store = store
        self._rank, self._count = rank, count
        self._died = died
        self._interruption = interruption
        self._stopped = threading.Event()
        self._ending = threading.Event()
        self._reacts = False
        """Whether the main thread has noticed that this process ends."""
        self._lock = threading.Lock()
        self._beat = (-1, time.monotonic())
        """The last sign of life of the rank before this one, and when it came."""

    def run(self) -> None:
        """Until ``stop``; at most one interruption."""
        while not self._stopped.wait(_EVERY):
            ended = self._look()
            if ended is None or self._ending.is_set():
                continue
            self._ending.set()
            self.ended = ended
            self._interruption.interrupt()
            if not self._stopped.wait(GRACE) and not self._reacts:
                self._exit(ended)

    def ending(self) -> None:
        """This process ends, and saves what it has: it is not interrupted any more."""
        self._reacts = True
        self._ending.set()

    def stop(self) -> None:
        """Give no more signs of life."""
        self._stopped.set()

    def claim(self, ended: Ended) -> Ended:
        """Tell that a rank has ended; returns what was told first."""
        with self._lock:
            try:
                told = self._store.compare_set(_ENDED, "", json.dumps(asdict(ended)))
            except RuntimeError:  # the process that keeps the store has ended
                return ended if ended.rank == self._rank else Ended("death", 0)
        return Ended(**json.loads(told))

    def find_reason(self) -> None:
        """Find out why an exchange has failed, as far as that can be known."""
        self.ending()
        began = time.monotonic()
        others = [rank for rank in range(self._count) if rank != self._rank]
        before = {rank: self._beats(rank) for rank in others}
        while self.ended is None and time.monotonic() - began < _SOON:
            self.ended = self._look()
            time.sleep(0.1)
        if self.ended is None:
            silent = [rank for rank in others if self._beats(rank) == before[rank]]
            self.ended = self.claim(Ended("death", silent[0] if silent else -1))

    def _look(self) -> Ended | None:
        """Give a sign of life, and look for that of the rank before; how one has ended, where it has."""
        try:
            return self._found()
        except RuntimeError:  # the store cannot be reached: the process that keeps it has ended
            return Ended("death", 0)

    def _found(self) -> Ended | None:
        before = (self._rank - 1) % self._count
        with self._lock:
            self._store.add(f"beat-{self._rank}", 1)
            told = self._store.get(_ENDED) if self._store.check([_ENDED]) else None
            beat, now = int(self._store.add(f"beat-{before}", 0)), time.monotonic()
        if told is not None:
            return Ended(**json.loads(told))
        if beat != self._beat[0]:
            self._beat = (beat, now)
        dead = before if now - self._beat[1] > _SILENT else self._died()
        return None if dead is None else self.claim(Ended("death", dead))

    def _beats(self, rank: int) -> int | None:
        """The signs of life of a rank so far; None where the store cannot be reached."""
        with self._lock:
            try:
                return int(self._store.add(f"beat-{rank}", 0))
            except RuntimeError:
                return None

    def _exit(self, ended: Ended) -> None:
        """End this process, which does not react: it waits for another rank, which is gone."""
        if ended.kind == "death":
            print(f"error: {ended.message(self._rank, self._count)}", file=sys.stderr, flush=True)
        os._exit(2)
