"""The names below a root: those that may be samples, and those that are left out, with the reason.

In: a folder, or the names in an archive or bucket. Out: a ``Listing``. Left out are hidden names, those of
file managers, links that lead in a circle or out of the root, and FIFOs, devices and sockets.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ogacli.base import wording
from ogacli.base.special_files import special
from ogacli.errors import DataError

_RUBBISH = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found")
)
"""Files and folders of file managers and operating systems, in lower case."""
_SHOWN = 5
"""Names in a note."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Names with ``/`` between folders; a folder's own name ends in ``/``."""

    names: list[str] = field(default_factory=list)
    """Those that may be samples, and their folders."""
    hidden: list[str] = field(default_factory=list)
    """Names that begin with a dot, or that file managers leave behind; of a folder only its own name."""
    links: list[str] = field(default_factory=list)
    """Links that lead in a circle or out of the root."""
    special: list[str] = field(default_factory=list)
    """FIFOs, devices and sockets; in archives also links."""
    garbled: list[str] = field(default_factory=list)
    """Names that are no text in UTF-8, with the wrong bytes replaced."""

    @classmethod
    def of(cls, names: Iterable[str], special: Iterable[str] = (), garbled: Iterable[str] = ()) -> "Listing":
        """The listing of an archive or a bucket.

        Args:
            names: All names in it.
            special: Those among them that are no files.
            garbled: Further names, which are not in UTF-8.
        """
        found, odd, hidden = cls(garbled=list(garbled)), set(special), dict[str, None]()
        for name in names:
            if (top := _hidden_part(name)) is not None:
                hidden[top] = None
            elif name in odd:
                found.special.append(name)
            else:
                found.names.append(name)
        found.hidden.extend(hidden)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each reason for which names were left out."""
        told = (
            ("hidden name|hidden names", self.hidden, "{was} left out"),
            ("link|links", self.links, "{was} not followed, out of the folder or in a circle"),
            ("entry|entries", self.special, "{was} left out, as {it} no file"),
            ("name|names", self.garbled, "{was} left out, as {it} not in UTF-8"),
        )
        return tuple(counted(noun, names, what) for noun, names, what in told if names)


def counted(noun: str, names: list[str], what: str) -> str:
    """A note such as ``2 links were not followed: a, b``.

    Args:
        noun: Singular and plural, separated by ``|``.
        names: What is counted; the first few are shown.
        what: What happened to them, where ``{was}`` and ``{it}`` agree with the number.
    """
    one = len(names) == 1
    verb = what.format(was="was" if one else "were", it="it is" if one else "they are")
    return f"{len(names):,} {noun.split('|')[not one]} {verb}: {wording.listed(sorted(names), _SHOWN)}"


def is_hidden(part: str) -> bool:
    """Whether the name of a file or folder, without those above it, is no name of data."""
    return (part.startswith(".") and part not in (".", "..")) or part.lower() in _RUBBISH


def _hidden_part(name: str) -> str | None:
    """The first hidden folder or file on the way to a name, with those above it; None without any."""
    parts = name.rstrip("/").split("/")
    return next(("/".join(parts[: i + 1]) for i, part in enumerate(parts) if is_hidden(part)), None)


def list_folder(root: Path) -> Listing:
    """All files and folders below a folder of this machine.

    Raises:
        DataError: A folder cannot be read.
    """
    top = os.path.realpath(root)
    found = Listing()
    waiting: list[tuple[str, tuple[str, ...]]] = [("", (top,))]
    while waiting:
        prefix, above = waiting.pop()
        try:
            entries = sorted(os.scandir(root / prefix), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError("cannot be listed", place=str(root / prefix), found=error.strerror) from None
        for entry in entries:
            inner = _add(found, entry, prefix, above)
            if inner is not None:
                waiting.append((f"{prefix}{entry.name}/", (*above, inner)))
    return found


def _add(found: Listing, entry: "os.DirEntry[str]", prefix: str, above: tuple[str, ...]) -> str | None:
    """Add one entry to a listing.

    Args:
        found: The listing.
        entry: The entry.
        prefix: The name of its folder, with ``/``.
        above: Where that folder and those above it really are, the root first.

    Returns:
        Where the entry really is, if it is a folder to be listed as well.
    """
    name = prefix + entry.name
    if is_hidden(entry.name):
        found.hidden.append(name)
    elif (readable := name.encode(errors="replace").decode()) != name:
        found.garbled.append(readable)
    elif (real := _real(entry, above)) is None:
        found.links.append(name)
    elif entry.is_dir():
        found.names.append(f"{name}/")
        return real
    elif not entry.is_file() and special(entry.path):
        found.special.append(name)
    else:
        found.names.append(name)
    return None


def _real(entry: "os.DirEntry[str]", above: tuple[str, ...]) -> str | None:
    """Where an entry really is; None for a link that leads out of the root, or to a folder around itself."""
    if not entry.is_symlink():
        return os.path.join(above[-1], entry.name)
    real = os.path.realpath(entry.path)
    try:
        os.stat(real)
    except FileNotFoundError:
        pass
    except OSError:  # such as a link to itself
        return None
    inside = Path(real).is_relative_to(above[0])
    return real if inside and real not in above else None
