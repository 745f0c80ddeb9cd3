"""One process at a time for each output, and a file that says how far it is.

In: a destination. Out: ``NAME.running.json`` beside it while the block runs: a lock, and the heartbeat of the
process that holds it. The file of a process that has ended is taken over: on this machine at once, also
where its number was given to another process; on other machines after two minutes without a heartbeat.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from ogacli.base.atomic import writing
from ogacli.base.documents.json_document import read_record
from ogacli.base.processes.process import Process
from ogacli.base.progress import Progress, State, Watched
from ogacli.errors import RunError

_KIND = "oga running"
_START = json.dumps({"kind": _KIND})[:-1].encode()
"""With this each record begins."""
_SUFFIX = ".running.json"
_EVERY = 5.0
"""Seconds between two heartbeats."""
_SILENT = 120.0
"""After so many seconds without a heartbeat, a process on another machine counts as ended."""
_TRIES = 20
"""So often a lock that others release or take at the same moment is tried again."""


def running_file(destination: Path) -> Path:
    """Where the lock and heartbeat of a destination is kept."""
    return destination.with_name(destination.name + _SUFFIX)


class Running:
    """The lock of one destination, which this process holds."""

    def __init__(self, destination: Path, command: str) -> None:
        self.file = running_file(destination)
        self._destination = destination
        self._since = _now()
        self._state: State | None = None
        self._record = {
            "kind": _KIND,
            "command": command,
            "process": Process.own().plain(),
            "token": uuid4().hex,
            "since": self._since,
        }
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="oga heartbeat", daemon=True)

    def tell(self, state: State) -> None:
        """Note how far the process is, for the next heartbeat."""
        self._state = state

    def check(self) -> None:
        """Make sure that no other process has taken the destination over.

        Raises:
            RunError: One has, as this one was stopped or asleep for minutes.
        """
        found = _read(self.file)
        if found is not None and found.get("token") != self._record["token"]:
            raise RunError(
                "another process has taken over this output, as this one gave no sign of life for long",
                place=str(self._destination),
                found=_who(found),
                hint="let it end, or choose another output",
            )

    def take(self) -> None:
        """Take the lock, and begin to write heartbeats.

        Raises:
            RunError: Another process holds it, or something else stands there.
        """
        _clear(self.file)
        with writing(self.file), _written(self.file, self._document()) as mine:
            for _ in range(_TRIES):
                if _placed(mine, self.file):
                    break
                self._remove_stale(now=mine.stat().st_mtime)
            else:
                raise self._taken(_read(self.file) or {})
        self._beating.start()

    def release(self) -> None:
        """Remove the file, if it is still that of this process."""
        self._stop.set()
        self._beating.join()
        with suppress(OSError):
            if (_read(self.file) or {}).get("token") == self._record["token"]:
                self.file.unlink()

    def _remove_stale(self, now: float) -> None:
        """Remove the lock of a process that has ended.

        Raises:
            RunError: It has not, or something else stands there.
        """
        if not os.path.lexists(self.file):
            return
        found = _read(self.file)
        if found is None and not _cut(self.file):
            if not os.path.lexists(self.file):
                return
            raise RunError(
                "something else stands where the lock is kept",
                place=str(self.file),
                expected="nothing, or a file that oga wrote",
                hint="move it away, or choose another output; it is left alone",
            )
        process = Process.of((found or {}).get("process"))
        runs = None if process is None else process.runs()
        if runs is None:
            with suppress(FileNotFoundError):
                # A time in the future was written while the clock was wrong, and not renewed since.
                runs = abs(now - self.file.stat().st_mtime) < _SILENT
        if runs:
            raise self._taken(found or {})
        # Renamed first: another process may have removed it and taken the lock in between.
        aside = self.file.with_name(f".{self.file.name}-{uuid4().hex[:8]}")
        with suppress(FileNotFoundError):
            self.file.rename(aside)
            if (_read(aside) or {}).get("token") != (found or {}).get("token"):
                _placed(aside, self.file)
            aside.unlink()

    def _taken(self, found: Mapping[str, Any]) -> RunError:
        process = Process.of(found.get("process"))
        seen = process is None or process.runs() is None
        later = f"; if it has ended, its lock is taken over after {_SILENT:.0f} s" if seen else ""
        return RunError(
            "another process is writing this output",
            place=str(self._destination),
            found=_who(found),
            hint=f"wait until it has ended, or choose another output{later}",
        )

    def _document(self) -> dict[str, Any]:
        state = State("starting", 0, 0, None) if self._state is None else self._state
        return self._record | {"updated": _now()} | asdict(state)

    def _beat(self) -> None:
        while not self._stop.wait(_EVERY):
            # A full disk is no reason to stop; the time of the file is then the heartbeat.
            with suppress(OSError):
                if (_read(self.file) or {}).get("token", "") != self._record["token"]:
                    continue
                os.utime(self.file)
                with _written(self.file, self._document()) as mine:
                    mine.replace(self.file)


@contextmanager
def running(destination: Path, command: str, progress: Progress) -> Iterator[tuple[Running, Progress]]:
    """Hold the lock of a destination, and write how far the process is.

    Args:
        destination: What the process will write.
        command: The name of the command, for the file.
        progress: Shows the progress.

    Yields:
        The lock, and the display to report progress to.

    Raises:
        RunError: Another process holds the lock, or it cannot be written.
    """
    one = Running(destination, command)
    made = _missing(destination.parent)
    with writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        one.take()
        try:
            yield one, Watched(progress, one.tell)
        finally:
            one.release()
    finally:
        for folder in made:  # those that are still empty
            with suppress(OSError):
                folder.rmdir()


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, the innermost first."""
    found = []
    while not os.path.lexists(folder):
        found.append(folder)
        folder = folder.parent
    return found


@contextmanager
def _written(file: Path, document: Mapping[str, Any]) -> Iterator[Path]:
    """A file beside another one, with this content; it is removed after the block if it is still there."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write((json.dumps(document) + "\n").encode())
        os.chmod(name, 0o644)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _clear(file: Path) -> None:
    """Remove what processes left beside a lock file that were killed while they wrote it."""
    with suppress(OSError):
        for name in os.listdir(file.parent):
            left = file.with_name(name)
            if not name.startswith(f".{file.name}-") or left.is_symlink() or not left.is_file():
                continue
            process = Process.of((_read(left) or {}).get("process"))
            old = time.time() - left.stat().st_mtime > _SILENT
            if (process is not None and process.runs() is False) or (_cut(left) and old):
                left.unlink(missing_ok=True)


def _placed(mine: Path, place: Path) -> bool:
    """Give a file one more name, which appears with its whole content; False where that name is taken."""
    try:
        os.link(mine, place)
        return True
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        pass
    try:
        with place.open("xb") as file:
            file.write(mine.read_bytes())
        return True
    except FileExistsError:
        return False


def _read(file: Path) -> dict[str, Any] | None:
    """The record in a lock file; None where there is none of ours."""
    return read_record(file, _KIND)


def _cut(file: Path) -> bool:
    """Whether it is a record that was cut off, or empty, as its process was killed while it wrote it."""
    with suppress(OSError):
        if not file.is_symlink() and file.is_file() and _read(file) is None:
            with file.open("rb") as opened:
                start = opened.read(len(_START))
            return _START.startswith(start)
    return False


def _who(record: Mapping[str, Any]) -> str:
    process = Process.of(record.get("process"))
    name = "a process that has not said who it is" if process is None else str(process)
    return f"{name}, oga {record.get('command')} since {record.get('since')}" if process else name


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
