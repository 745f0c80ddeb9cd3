"""Text files, read and written in the encoding that they have, line by line.

In: an open binary file and the name of its encoding. Out: its byte order mark, and its text as a stream whose
line ends stay as they are.
"""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks, and the encoding after them; one that begins like another comes first."""
_UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
"""Encodings in which a file may begin with a mark."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Encoded:
    """How the text of a file is encoded."""

    mark: bytes
    """The byte order mark; empty without one."""
    codec: str
    """The encoding of what follows, which writes no mark of its own."""

    @classmethod
    def of(cls, head: bytes, encoding: str) -> "Encoded":
        """The form of a file that begins with these bytes."""
        named = codecs.lookup(encoding).name
        if named in _UNICODE:
            for mark, codec in _MARKS.items():
                if head.startswith(mark):
                    return cls(mark, codec)
        return cls(b"", "utf-8" if named == "utf-8-sig" else named)

    @contextmanager
    def reading(self, file: Any, newline: str = "") -> Iterator[io.TextIOWrapper]:
        """The text after the mark.

        Args:
            file: Open for reading bytes; it stays open.
            newline: The end of a line; by default any. Line ends are kept.
        """
        file.seek(len(self.mark))
        text = io.TextIOWrapper(file, encoding=self.codec, newline=newline)
        try:
            yield text
        finally:
            text.detach()

    @contextmanager
    def writing(self, file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
        """A text file that begins with the mark; ``file`` stays open."""
        file.write(self.mark)
        text = io.TextIOWrapper(file, encoding=self.codec, newline="")
        try:
            yield text
            text.flush()
        finally:
            text.detach()


def is_utf8(file: Any) -> bool:
    """Whether all of a file is text in UTF-8; it is read once, a part at a time."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK):
            if not chunk.isascii() or decoder.getstate()[0]:
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    finally:
        file.seek(0)
    return True
