"""Names for files and folders that this system accepts, from ids and labels of any kind.

In: any text. Out: a name that stays inside its folder and is not hidden there. Windows refuses more than
other systems: some letters, dots and spaces at the end, and the names of devices, with any suffix.
"""

import os
from collections.abc import Iterable
from itertools import chain, count

WINDOWS = os.name == "nt"
"""Whether names are for Windows."""
_LONGEST = 200
"""Bytes of a name without its suffix; file systems allow 255 in all."""
_REFUSED = ':*?"<>|'
_DEVICES = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{name}{number}" for name in ("com", "lpt") for number in "0123456789¹²³"),
}


def safe_name(name: str, suffix: str = "") -> str:
    """A safe name.

    Args:
        name: The text, without the suffix.
        suffix: With its dot; it stays at the end.
    """
    stem = _plain(name).lstrip(".").encode()[:_LONGEST].decode(errors="ignore")
    end = _plain(suffix)
    if not WINDOWS:
        return (stem or "_") + end
    found = (stem.rstrip(". ") or "_") + end.rstrip(". ")
    return f"_{found}" if found.partition(".")[0].rstrip().lower() in _DEVICES else found


def _plain(text: str) -> str:
    refused = "/\\" + _REFUSED if WINDOWS else "/\\"
    return "".join("-" if letter in refused or not letter.isprintable() else letter for letter in text)


class Names:
    """Safe names in one folder, which differ even if upper and lower case are ignored.

    Args:
        taken: Names that are there already.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}

    def new(self, wanted: Iterable[str], suffix: str = "") -> str:
        """The first wanted name that is free, or else the last one with a number."""
        stems = list(wanted)
        for stem in chain(stems, (f"{_cut(stems[-1])}-{number}" for number in count(2))):
            name = safe_name(stem, suffix)
            if name.casefold() not in self._taken:
                self._taken.add(name.casefold())
                return name
        raise AssertionError("numbers do not end")


def _cut(stem: str) -> str:
    """The beginning of a name, so that there is room for a number behind it."""
    return _plain(stem).lstrip(".").encode()[: _LONGEST - 20].decode(errors="ignore")
