"""The image files of the samples that stay, ``<label>/<file>``, and those beside them that are no samples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa

from ogacli.base.pictures import Undecodable, opened_picture
from ogacli.base.progress import Progress
from ogacli.errors import DataError, RunError
from ogacli.run.trim import FolderFormat, formats
from ogacli.run.trim.folder import MANIFEST, MARK

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source

_LONGEST = 200
"""Bytes of a name without its suffix; file systems allow 255 in all."""


@formats.register
class ImageFolder(FolderFormat):
    """Hard links where the file system allows, copies otherwise. Needs ``Reader.file``."""

    def write(
        self, source: Source, samples: Samples, stays: pa.Table, folder: Path, progress: Progress
    ) -> int:
        """Write each file into the folder of its label."""
        others = samples.reader.others
        with progress.bar("writing images", stays.num_rows + len(others)) as advance:
            for file, name in _placed(samples, stays):
                target = folder / name
                target.parent.mkdir(exist_ok=True)
                _place(file, target)
                advance(1)
        return len(others)


def _placed(samples: Samples, stays: pa.Table) -> Iterator[tuple[Path | bytes, PurePosixPath]]:
    """The file of each sample, then each file that is none, and where it goes."""
    folders: dict[str, tuple[str, _Names]] = {}
    taken = _Names([MANIFEST, MARK])

    def place(label: str, name: str, suffix: str) -> PurePosixPath:
        if label not in folders:
            folders[label] = taken.new([label]), _Names()
        folder, files = folders[label]
        stems = (PurePosixPath(name).name.removesuffix(suffix), name.removesuffix(suffix))
        return PurePosixPath(folder, files.new(stems, suffix))

    for row in stays.to_pylist():
        source = _file(partial(samples.reader.file, row["position"]), f"sample {row['id']!r}")
        label = str(row["label"] if row["new_label"] is None else row["new_label"])
        yield source, place(label, row["id"].replace("\\", "/"), _suffix(source, row["id"]))
    for name in samples.reader.others:
        source = _file(partial(samples.reader.other_file, name), f"file {name!r}")
        yield source, place(name.partition("/")[0], name, PurePosixPath(name).suffix)


def _file(read: Callable[[], Path | bytes | None], place: str) -> Path | bytes:
    """What ``read`` returns, with an error where it is nothing."""
    from ogacli.data import Unreadable

    try:
        source = read()
    except Unreadable as error:
        raise DataError("cannot be read any more", place=place, found=str(error)) from None
    if source is None:
        raise DataError(
            "the samples of this dataset are not files",
            place=place,
            hint="use --format csv, jsonl, parquet or indices",
        )
    return source


def _suffix(source: Path | bytes, name: str) -> str:
    """The suffix of a file; of a file from an archive by its name, or else by its content."""
    from ogacli.data.images import SUFFIXES

    if isinstance(source, Path):
        return source.suffix
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in SUFFIXES:
        return suffix
    try:
        found = f".{opened_picture(source).format}".lower()
    except Undecodable:
        return ""
    return found if found in SUFFIXES else ""


class _Names:
    """Safe names in one folder, which differ even if upper and lower case are ignored."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}

    def new(self, wanted: Iterable[str], suffix: str = "") -> str:
        """The first wanted name that is free, or else the last one with a number."""
        stems = [_safe(stem) for stem in wanted]
        for stem in chain(stems, (f"{stems[-1]}-{number}" for number in count(2))):
            name = stem + suffix
            if name.casefold() not in self._taken:
                self._taken.add(name.casefold())
                return name
        raise AssertionError("numbers do not end")


def _safe(name: str) -> str:
    """A name that stays inside its folder and is not hidden there."""
    plain = "".join("-" if letter in "/\\" or not letter.isprintable() else letter for letter in name)
    return plain.lstrip(".").encode()[:_LONGEST].decode(errors="ignore") or "_"


def _place(source: Path | bytes, target: Path) -> None:
    """Hard link where the file system allows, a copy otherwise; never through an existing link."""
    try:
        if isinstance(source, bytes):
            target.write_bytes(source)
            return
        try:
            os.link(source.resolve(), target)
        except OSError:
            with source.open("rb") as file, target.open("xb") as copy:
                shutil.copyfileobj(file, copy)
    except OSError as error:
        name = target.name if isinstance(source, bytes) else str(source)
        raise RunError("cannot be copied", place=name, found=error.strerror or str(error)) from None
