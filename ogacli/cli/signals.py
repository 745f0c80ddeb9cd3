"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is unfinished is saved first.

In: a block that runs a command. Out: within it these signals raise ``KeyboardInterrupt``; the exit code is
128 plus the number of the signal. A signal that is ignored, as under ``nohup``, stays ignored.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")
"""Windows has no SIGHUP."""
_INTERRUPTED = 128 + signal.SIGINT


@contextmanager
def interrupting_signals() -> Iterator[None]:
    """Let these signals interrupt the block."""
    received: list[int] = []
    own = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own:  # in a process that reads samples, which ends with this one
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
        if signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    except SystemExit as error:
        if received and error.code == _INTERRUPTED:
            sys.exit(128 + received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
