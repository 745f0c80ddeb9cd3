"""A folder of the samples that stay, with the manifest and a mark in it.

In: a job. Out: a new folder. The mark holds a digest of the names of all files,
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
from typing import Any

from ogacli.base.atomic import new_folder
from ogacli.base.documents.json_document import read_record
from ogacli.base.special_files import special
from ogacli.errors import RunError
from ogacli.run.trim.job import Job
from ogacli.run.trim.manifest import write_manifest

MANIFEST, MARK = "manifest.csv", ".oga.json"
_KIND = "oga trimmed dataset"


def check_apart(section: object, destination: Path, *, folder: bool) -> None:
    """Refuse a destination that is or holds the data, or that would become part of it.

    Args:
        section: The data section of the run.
        destination: Where the cleaned dataset goes.
        folder: Whether it is a folder.

    Raises:
        RunError: The data is there, or the folder would become part of it.
    """
    there = destination.resolve()
    values = section if isinstance(section, dict) else {}
    root = values.get("root")
    if folder and values.get("source") == "image_folder" and isinstance(root, str) and os.path.isabs(root):
        if there.is_relative_to(Path(root).resolve()):
            raise _occupied(destination, "a folder of the dataset, whose files would become samples of it")
    for key, value in values.items():
        if not (isinstance(value, str) and os.path.isabs(value)):
            continue
        place = Path(value).resolve()
        if place == there or (folder and place.is_relative_to(there)):
            raise _occupied(destination, f"data.{key} is {value}")


def _occupied(destination: Path, found: str) -> RunError:
    return RunError(
        "the dataset itself lies there",
        place=str(destination),
        found=found,
        hint="choose another place; the dataset is left as it is",
    )


@contextmanager
def new_dataset(job: Job, destination: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder; the manifest and the mark are added when the block ends without an error.

    Raises:
        RunError: The place is taken by something else, or by an earlier folder and ``overwrite`` is off.
    """
    with new_folder(destination, overwrite=overwrite, ours=_is_ours) as work:
        yield work
        with (work / MANIFEST).open("wb") as file:
            write_manifest(job.run, job.fates, job.options, file, "csv")
        (work / MARK).write_text(json.dumps(_mark(work)) + "\n", encoding="utf-8")


def _is_ours(folder: Path) -> bool:
    return {"id", "fate", "new_label"} <= set(_header(folder / MANIFEST)) and _marked(folder)


def _mark(folder: Path) -> dict[str, Any]:
    """The content of the mark: its kind and a digest of the names of all files in the folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    names = [name for name in names if name != MARK]
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return {"kind": _KIND, "schema_version": 1, "files": len(names), "names": digest}


def _marked(folder: Path) -> bool:
    try:
        return not folder.is_symlink() and read_record(folder / MARK, _KIND) == _mark(folder)
    except OSError:
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
