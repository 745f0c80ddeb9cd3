"""JSON that may come from anybody -> plain values.

In: a text or a file. Out: its values, or one error with the place; of records that oga itself leaves beside
files, nothing where it is something else. Numbers that do not fit into 64 bits, halves of characters and,
where it is asked for, NaN are errors, as what comes after cannot hold them.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from ogacli.base.special_files import refuse_special
from ogacli.errors import OgaError, RunError

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""What half a character begins with; two of them make a whole one."""
_LONGEST = 19
"""Digits of a whole number of 64 bits."""
_RECORD = 1 << 16
"""Bytes that a record may have at most."""


def parse_json(text: str | bytes, place: str, error: type[OgaError], *, finite: bool = True) -> Any:
    """The values of a JSON text.

    Args:
        text: JSON; bytes in UTF-8.
        place: Where it is from, for messages.
        error: The class of the error to raise.
        finite: Whether NaN and Infinity, which JSON does not have, are errors.

    Raises:
        OgaError: An error of the class ``error``: it is not JSON, is nested too deeply, or holds a value that
            cannot be stored.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        found = json.loads(
            text,
            parse_int=_whole,
            parse_float=_finite if finite else None,
            parse_constant=_finite if finite else None,
        )
        if _HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise error("not JSON", place=place, found=r"half a character, such as \ud800") from None
    except RecursionError:
        raise error("not JSON", place=place, found="lists or objects nested too deeply") from None
    except ValueError as problem:
        raise error("not JSON", place=place, found=str(problem)) from None
    return found


def read_json(path: str | Path, error: type[OgaError], *, finite: bool = True) -> Any:
    """The values of a JSON file.

    Raises:
        FileNotFoundError: There is none.
        OgaError: An error of the class ``error``: it cannot be read, or as in :func:`parse_json`.
    """
    return parse_json(read_bytes(path, error), str(path), error, finite=finite)


def read_bytes(path: str | Path, error: type[OgaError]) -> bytes:
    """The bytes of a file of this machine.

    Raises:
        FileNotFoundError: There is none.
        OgaError: An error of the class ``error``: it is no file, or cannot be read.
    """
    refuse_special(path, error)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise error("a folder, not a file", place=str(path)) from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise error("cannot be read", place=str(path), found=reason) from None


def read_record(path: Path, kind: str) -> dict[str, Any] | None:
    """The record in the first line of a file that oga wrote; None where there is none, or something else.

    Args:
        path: The file; no link is followed.
        kind: What the record says of itself under ``kind``.
    """
    try:
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            line = file.readline(_RECORD + 1)
        found = parse_json(line, str(path), RunError) if len(line) <= _RECORD else None
    except (OSError, RunError):
        return None
    return found if isinstance(found, dict) and found.get("kind") == kind else None


def _whole(digits: str) -> int:
    """A whole number.

    Raises:
        ValueError: It does not fit into 64 bits.
    """
    if len(digits) <= _LONGEST + 1 and -(1 << 63) <= (found := int(digits)) < 1 << 64:
        return found
    raise ValueError(
        f"the number {digits[:24]}{'..' if len(digits) > 24 else ''}, which needs more than 64 bits"
    )


def _finite(text: str) -> float:
    """A number.

    Raises:
        ValueError: It is NaN or infinite.
    """
    found = float(text)
    if math.isfinite(found):
        return found
    raise ValueError(f"{text[:24]}, which is no finite number")
