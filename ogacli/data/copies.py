"""Copies of remote files on this machine, so that what is read several times travels once.

In: remote files that are open. Out: the same bytes, from a temporary file without a name, which is gone when
the process ends. Up to ``MOST`` bytes are copied, and no more than a tenth of the room on the disk; the other
files are left where they are.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from typing import IO, Any

MOST = 1 << 30
"""Bytes of all copies of one dataset."""
_OF_ROOM = 10
"""Copies take one part of so many of what is free on the disk."""
_PART = 1 << 22
"""Bytes that are copied at a time."""


class Copies:
    """The copies of some files, by URL.

    Forked processes share them; one that is spawned has none, and reads the remote files.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}
        """Where each copy begins, and its bytes."""

    def of(self, url: str, remote: Any) -> Any:
        """The copy of an open file, to be read in its place; the file itself where there is no room.

        Args:
            url: Its URL.
            remote: The file, which is read once, from beginning to end.
        """
        begin, size = sum(self._places.get(self._last, (0, 0))), remote.seek(0, os.SEEK_END)
        remote.seek(0)
        if begin + size > MOST or size > shutil.disk_usage(tempfile.gettempdir()).free // _OF_ROOM:
            return remote
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="oga-")
                weakref.finalize(self, self._file.close)
            self._file.seek(begin)
            shutil.copyfileobj(remote, self._file, _PART)
            self._file.flush()
        except OSError:  # of the remote file it is raised again when that is read
            remote.seek(0)
            return remote
        if self._file.tell() != begin + size:
            remote.seek(0)
            return remote
        self._places[url] = begin, size
        return _Copy(self, url)

    def __contains__(self, url: str) -> bool:
        return url in self._places

    def read(self, url: str, start: int, size: int) -> bytes:
        """Some bytes of a copy; fewer where it ends before."""
        begin, length = self._places[url]
        assert self._file is not None, "a copy was made"
        return os.pread(self._file.fileno(), max(0, min(size, length - start)), begin + start)

    def length(self, url: str) -> int:
        """Bytes of a copy."""
        return self._places[url][1]

    @property
    def _last(self) -> str:
        return next(reversed(self._places), "")

    def __getstate__(self) -> dict[str, Any]:
        return {"_file": None, "_places": {}}


class _Copy:
    """One copy as an open file."""

    def __init__(self, copies: Copies, url: str) -> None:
        self._copies, self._url, self._at = copies, url, 0

    def tell(self) -> int:
        return self._at

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        self._at = to + (self._copies.length(self._url) if whence == os.SEEK_END else 0)
        return self._at

    def read(self, size: int) -> bytes:
        found = self._copies.read(self._url, self._at, size)
        self._at += len(found)
        return found
