"""What the shell offers for an argument: run directories and configs.

In: the beginning of a path. Out: paths.
"""

import os
from collections.abc import Callable
from pathlib import Path

_MOST = 200
"""Entries of a folder that are offered."""


def run_folders(incomplete: str) -> list[str]:
    """Run directories, and folders on the way to one."""
    return _paths(incomplete, lambda path: False)


def config_files(incomplete: str) -> list[str]:
    """YAML files, and folders on the way to one."""
    return _paths(incomplete, lambda path: path.suffix in (".yaml", ".yml"))


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """The entries that begin as given; folders that are no run end in a slash, so that one can go on."""
    start, _, beginning = incomplete.rpartition("/")
    typed = f"{start}/" if "/" in incomplete else ""
    try:
        entries = sorted(Path(os.path.expanduser(typed or ".")).iterdir())
    except OSError:
        return []
    found = []
    for entry in entries:
        hidden = entry.name.startswith(".") and not beginning.startswith(".")
        if hidden or not entry.name.startswith(beginning):
            continue
        if entry.is_dir():
            is_run = (entry / "summary.json").is_file() and (entry / "scores.parquet").is_file()
            found.append(f"{typed}{entry.name}" + "/" * (not is_run))
        elif wanted(entry):
            found.append(f"{typed}{entry.name}")
    return found[:_MOST]
