"""A folder of the samples that stay, with the manifest and a mark in it.

In: the manifest and a source of data. Out: a new folder. The mark holds a digest of the names of all files,
so that the folder is replaced only if no file was added or removed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ogacli.base.atomic import new_folder
from ogacli.base.special_files import special
from ogacli.base.tables import write_table
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim.unchanged import check_fingerprint

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source

MANIFEST, MARK = "manifest.csv", ".oga.json"
_KIND = "oga trimmed dataset"


def check_apart(source: Source, destination: Path) -> None:
    """Refuse a destination that holds the data, or that would become part of it.

    Raises:
        RunError: The data is in the folder, or the folder would be.
    """
    there = destination.resolve()
    if source.includes(there):
        raise _occupied(destination, "a folder of the dataset, whose files would become samples of it")
    for key, value in source.model_dump(mode="json", exclude_none=True).items():
        if not (isinstance(value, str) and os.path.isabs(value)):
            continue
        if Path(value).resolve().is_relative_to(there):
            raise _occupied(destination, f"data.{key} is {value}")


def _occupied(destination: Path, found: str) -> RunError:
    return RunError(
        "the dataset itself lies there",
        place=str(destination),
        found=found,
        hint="choose another folder; the dataset is left as it is",
    )


def reopened(run: Run, source: Source) -> Samples:
    """The dataset of a run, unchanged since the scan.

    Raises:
        DataError: It has changed, or the source is of another dataset.
    """
    samples = source.open()
    check_fingerprint(samples, run)
    return samples


@contextmanager
def folder_with(manifest: pa.Table, destination: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder; the manifest and the mark are added when the block ends without an error.

    Raises:
        RunError: The place is taken by something else, or by an earlier folder and ``overwrite`` is off.
    """

    def ours(folder: Path) -> bool:
        return _header(folder / MANIFEST) == list(manifest.column_names) and _marked(folder)

    with new_folder(destination, overwrite=overwrite, ours=ours) as work:
        yield work
        with (work / MANIFEST).open("wb") as file:
            write_table(manifest, file, "csv")
        (work / MARK).write_text(json.dumps(_mark(work)) + "\n", encoding="utf-8")


def _mark(folder: Path) -> dict[str, Any]:
    """The content of the mark: its kind and a digest of the names of all files in the folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    names = [name for name in names if name != MARK]
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return {"kind": _KIND, "schema_version": 1, "files": len(names), "names": digest}


def _marked(folder: Path) -> bool:
    mark = folder / MARK
    if folder.is_symlink() or mark.is_symlink() or special(mark):
        return False
    try:
        return bool(json.loads(mark.read_text(encoding="utf-8")) == _mark(folder))
    except (OSError, ValueError):
        return False


def _header(table: Path) -> list[str]:
    """The first line of a csv file; empty where there is none."""
    if special(table):
        return []
    try:
        with table.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []
