"""How a text file is written: its encoding, and of a csv file the delimiter and the decimal mark.

In: the bytes of a file, and what the user gave. Out: the text as UTF-8, and a ``Dialect``; or an error with
the possible readings and the key that decides between them.
"""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ogacli.base.wording import cut
from ogacli.errors import DataError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
"""The delimiters that are found out; any other one must be given."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; one that begins like another comes first."""
_WESTERN = "cp1252"
"""The encoding of bytes that are not UTF-8; it has the letters of latin-1."""
_OTHERS = ("cp1250", "cp1251", "shift_jis", "gb18030")
"""Further encodings that an error shows the first word in."""
_SAMPLE, _RECORDS = 1 << 18, 1000
"""Bytes and records of a csv file by which the delimiter is found."""
_CHUNK = 1 << 20
_SHOWN = 60
_BROKEN = "\udc80"
"""Stands for bytes that are no UTF-8; no text has it, as opposed to U+FFFD."""
_MARKED = "ogacli-marked"
codecs.register_error(_MARKED, lambda error: (_BROKEN, error.end))  # type: ignore[attr-defined]
_STRANGE = re.compile(r"[^\x00-\x7f]{3}|(?<=[A-Za-z])[\u02c6-\u2122\xa1-\xbf\xd7\xf7]+(?=[A-Za-z])")
"""In texts of western languages there are hardly ever three such letters in a row, or signs within a word."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written. What is None is to be found out, or could not be told."""

    delimiter: str | None = None
    encoding: str | None = None
    decimal: Literal[".", ","] | None = None

    def noted(self, format: str, example: str | None = None) -> tuple[str, ...]:
        """What differs from the usual: a sentence for the user, or none.

        Args:
            format: The usual delimiter of the file's format; empty where it has none.
            example: A word that shows whether the encoding is right.
        """
        found = []
        if format and self.delimiter not in (None, format):
            found.append(f"{DELIMITERS.get(self.delimiter or '', repr(self.delimiter))} between columns")
        if self.encoding not in (None, "utf-8", "utf-8-sig"):
            found.append(f"encoding {self.encoding}" + (f" (such as {example!r})" if example else ""))
        if self.decimal == ",":
            found.append("decimal commas")
        return (f"read with {', '.join(found)}",) if found else ()


def as_utf8(data: bytes, place: str, encoding: str | None, *, unicode: bool = False) -> tuple[bytes, str]:
    """The text of a file as UTF-8 without a mark, and its encoding.

    Args:
        data: The file, or its beginning.
        place: The file, for messages.
        encoding: As given; None to find it out.
        unicode: Whether the encoding is one of Unicode unless another is given, as in JSON.

    Raises:
        DataError: The bytes are no text in that encoding, or the encoding cannot be told.
    """
    named = encoding or encoding_of(io.BytesIO(data), place, unicode=unicode)
    try:
        if named == "utf-8" and not encoding and not unicode:
            return data, named  # it was checked, and is not copied
        return codecs.getincrementaldecoder(named)().decode(data).encode(), named
    except UnicodeDecodeError as error:
        raise DataError(
            "not JSON in UTF-8" if unicode and not encoding else f"not a text in the encoding {named}",
            place=f"{place}:{_line(data, error.start)}",
            found=f"the bytes {data[error.start : error.start + 4].hex(' ')}",
            hint="give its `encoding`, such as utf-8, latin-1 or utf-16; or save the file as UTF-8",
        ) from None


def _line(data: bytes, place: int) -> int:
    """The number of a line, from 1."""
    return data.count(b"\n", 0, place) + 1


def foreign_word(text: bytes) -> str | None:
    """The first word of UTF-8 with a letter beyond ASCII; None where there is none."""
    found = re.search(rb"[^\s,;|\"\x80-\xff]*[\x80-\xff]+[^\s,;|\"]*", text)
    return None if found is None else cut(found[0].decode(errors="ignore"), _SHOWN)


def encoding_of(file: Any, place: str, *, unicode: bool = False) -> str:
    """The encoding that a file shows; it is read a part at a time.

    Args:
        file: Open for reading bytes; it is left at its beginning.
        place: The file, for messages.
        unicode: Whether the encoding is one of Unicode, as in JSON.

    Raises:
        DataError: It cannot be told.
    """
    try:
        file.seek(0)
        head = file.read(4)
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        return marked or _two_bytes(file, place) or ("utf-8" if unicode else _eight_bits(file, place))
    finally:
        file.seek(0)


def _chunks(file: Any) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


def _two_bytes(file: Any, place: str) -> str | None:
    """UTF-16 without a mark: every other byte of western texts is zero; None where no byte is zero."""
    size = even = odd = 0
    head = b""
    for chunk in _chunks(file):
        head = head or chunk[:4]
        zeros = chunk.count(0)
        if zeros:
            evens, odds = (chunk[one::2].count(0) for one in (size % 2, 1 - size % 2))
            even, odd = even + evens, odd + odds
        size += len(chunk)
    if not even + odd:
        return None
    zipped = head == b"PK\3\4"
    if not zipped and max(even, odd) > 0.3 * size and min(even, odd) * 20 < max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    raise DataError(
        "not a text file",
        place=place,
        found="a spreadsheet, or another zip archive" if zipped else "bytes of zeros",
        expected="text in UTF-8, UTF-16 or latin-1",
        hint="save it as csv in the program that wrote it",
    )


def _eight_bits(file: Any, place: str) -> str:
    """UTF-8, or latin-1 where the text looks like one of a western language."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors=_MARKED)
    foreign = broken = 0
    lines, line = 1, None
    last = ""
    for chunk in itertools.chain(_chunks(file), [b""]):
        text = decoder.decode(chunk, final=not chunk)
        if not text.isascii():
            foreign += len(text) - len(text.encode("ascii", "ignore"))
            bad = text.count(_BROKEN)
            if bad and line is None:
                line = lines + text.count("\n", 0, text.index(_BROKEN))
            broken += bad
        lines += text.count("\n")
        last = text[-1:] or last
    if last == _BROKEN:  # the beginning of a file may end within a letter
        foreign, broken = foreign - 1, broken - 1
    if not broken:
        return "utf-8"
    if foreign - broken >= broken:
        raise DataError(
            "UTF-8 with bytes that are none: the file is damaged, or put together of two encodings",
            place=f"{place}:{line}",
            hint="save it again as UTF-8; or give its `encoding`, such as latin-1",
        )
    return _one_byte(file, place)


def _one_byte(file: Any, place: str) -> str:
    runs = strange = 0
    first: tuple[int, bytes] | None = None
    known = True
    file.seek(0)
    for number, line in enumerate(file, 1):
        if line.isascii():
            continue
        if first is None:
            word = re.search(rb"[^\s,;\"\x80-\xff]*[\x80-\xff][^\s,;\"]*", line)
            assert word is not None
            first = number, word[0]
        try:
            found = re.findall(r"[A-Za-z]*[^\x00-\x7f]+[A-Za-z]*", line.decode(_WESTERN))
        except UnicodeDecodeError:
            known = False
            break
        runs += len(found)
        strange += sum(bool(_STRANGE.search(run)) for run in found)
    if known and runs and strange * 3 <= runs:
        return _WESTERN
    assert first is not None
    number, shown = first
    readings = []
    for name in (_WESTERN, *_OTHERS):
        try:
            readings.append(f"{name} {cut(shown.decode(name), _SHOWN)!r}")
        except UnicodeDecodeError:
            continue
    raise DataError(
        "the encoding cannot be told: not UTF-8, and no text of a western language in latin-1",
        place=f"{place}:{number}",
        found=" or ".join(readings) or f"the bytes {shown[:4].hex(' ')}",
        hint="give the right one as `encoding`, or save the file as UTF-8",
    )


def delimiter_of(text: bytes, place: str, usual: str) -> str:
    """The delimiter of a csv file: the only one with which all records have as many columns as the header.

    Args:
        text: The file, as UTF-8.
        place: The file, for messages.
        usual: The delimiter of the file's suffix, for files of one column or of records that differ.

    Raises:
        DataError: Several delimiters fit.
    """
    found = {one: records(text, one) for one in DELIMITERS}
    wide = {one: rows for one, rows in found.items() if rows and len(rows[0]) > 1}
    fitting = [one for one, rows in wide.items() if all(len(row) == len(rows[0]) for row in rows)]
    if len(fitting) > 1:
        shown = [f"{DELIMITERS[one]}: {cut(' · '.join(wide[one][0]), _SHOWN)}" for one in fitting]
        raise DataError(
            "columns may be separated by " + " or by ".join(DELIMITERS[one] for one in fitting),
            place=place,
            found="; ".join(f"with {one}" for one in shown),
            hint="give the right one: " + " or ".join(f"`delimiter: {_quoted(one)}`" for one in fitting),
        )
    if fitting:
        return fitting[0]
    if not wide or usual in wide:
        return usual
    return max(wide, key=lambda one: len(wide[one][0]))


def _quoted(delimiter: str) -> str:
    return '"\\t"' if delimiter == "\t" else f"'{delimiter}'"


def records(text: bytes, delimiter: str, size: int = _SAMPLE, count: int = _RECORDS) -> list[list[str]]:
    """The first whole records of a csv file, without empty lines."""
    rows: list[list[str]] = []
    try:
        lines = io.StringIO(text[:size].decode(errors="ignore"), newline="")
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > count:
                break
    except csv.Error:  # such as a field of more than 128 kB; the records before it show the delimiter
        return rows
    cut_off = len(text) > size or len(rows) > count
    return rows[:-1] if cut_off and len(rows) > 1 else rows
