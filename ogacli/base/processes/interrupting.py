"""Another thread interrupts the main one, as Ctrl-C would.

In: a block of the main thread. Out: within it ``interrupt`` raises ``KeyboardInterrupt`` there, also while it
sleeps or waits for the system, and where Ctrl-C is ignored.
"""

from __future__ import annotations

import _thread
import signal
import threading
from types import FrameType
from typing import Any

_NAME = "SIGUSR1"
"""Windows has none; there the main thread is interrupted once it runs again."""


class Interruption:
    """Interrupts the block that it is entered for."""

    def __init__(self) -> None:
        self._signal: int | None = getattr(signal, _NAME, None)
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if self._signal is not None:
            self._before = signal.signal(self._signal, _raise)
        return self

    def __exit__(self, *error: object) -> None:
        if self._signal is not None:
            signal.signal(self._signal, self._before)

    def interrupt(self) -> None:
        """Interrupt the main thread; called by another one."""
        main = threading.main_thread().ident
        if self._signal is not None and main is not None and hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, self._signal)
        else:
            _thread.interrupt_main()


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
