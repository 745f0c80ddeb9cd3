"""Which process wrote a file, and whether it still runs.

In: a record in JSON. Out: ``True``, ``False``, or None where it runs on another machine. A process number
that was given to another process is recognised by the start time.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Process:
    """A process on some machine."""

    host: str
    """The name of the machine."""
    space: str
    """Where the number is unique: the boot of the machine and, on Linux, the process namespace."""
    number: int
    """The process id."""
    started: str
    """When it was started, in the form of the operating system; empty where that is not known."""

    @classmethod
    def own(cls) -> Process:
        """This process."""
        number = os.getpid()
        return cls(socket.gethostname(), _space(), number, _started(number) or "")

    @classmethod
    def of(cls, record: object) -> Process | None:
        """From what ``plain`` returned; None where it is something else."""
        if not isinstance(record, Mapping):
            return None
        host, space, number, started = (record.get(name) for name in cls.__slots__)
        texts = isinstance(host, str) and isinstance(space, str) and isinstance(started, str)
        if not texts or not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            return None
        return cls(str(host), str(space), number, str(started))

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def runs(self) -> bool | None:
        """Whether it still runs; None where that cannot be seen from this machine."""
        if self.host != socket.gethostname() or self.space != _space():
            return None
        started = _started(self.number)
        return started is not None and (not self.started or not started or started == self.started)

    def __str__(self) -> str:
        return f"process {self.number} on {self.host}"


def _space() -> str:
    parts = []
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            parts = [file.read().strip(), os.readlink("/proc/self/ns/pid")]
    except (OSError, ValueError):  # another system than Linux
        pass
    return " ".join(parts)


def _started(number: int) -> str | None:
    """The start time of a process: None where there is no such process, empty where it is not known."""
    if sys.platform == "win32":
        return _started_on_windows(number)
    if sys.platform == "linux":
        try:
            with open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError:
            return ""
        return None if fields[0] in ("Z", "X") else fields[19]  # proc(5): the state, and `starttime`
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:
        pass  # of another user
    try:
        command = ["ps", "-o", "lstart=", "-p", str(number)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _started_on_windows(number: int) -> str | None:
    if sys.platform != "win32":
        return ""
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(0x1000, False, number)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return "" if ctypes.get_last_error() == 5 else None  # 5: access denied, so that there is one
    try:
        times = [ctypes.c_ulonglong() for _ in range(4)]
        known = kernel.GetProcessTimes(ctypes.c_void_p(handle), *map(ctypes.byref, times))
        if known and times[1].value:
            return None  # it has ended
        return str(times[0].value) if known else ""
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
