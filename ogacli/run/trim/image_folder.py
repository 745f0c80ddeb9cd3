"""The image files of the samples that stay, in a folder a class."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ogacli.base.file_names import Names, safe_name
from ogacli.base.special_files import refuse_special
from ogacli.data.originals.image_folder import SUFFIXES, other_names, sample_names
from ogacli.data.originals.image_folder import ImageFolder as Original
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError, RunError
from ogacli.run.trim import FolderFormat, formats
from ogacli.run.trim.chosen import check_rows
from ogacli.run.trim.folder import MANIFEST, MARK
from ogacli.run.trim.job import Job


class _File(NamedTuple):
    """A file to write."""

    read: Callable[[], Path | bytes | None]
    place: str
    """For messages."""
    label: str
    """The folder of its class."""
    name: str
    """Its name in the source, with folders; of a sample of another source its id."""
    below: str | None
    """The folders below that of its class that are kept; None where its name alone is kept."""


@formats.register
class ImageFolder(FolderFormat):
    """Copies, or hard links where that is asked for and the file system allows it.

    A folder of images keeps its folders, and the files that are no samples; a relabelled image goes to
    the folder of its new class. The images of other sources are named by the ids of the samples.
    """

    def write(self, job: Job, folder: Path) -> None:
        """Write each file into the folder of its label."""
        is_folder = isinstance(job.original, Original)
        samples, others = _of_folder(job) if is_folder else _of_samples(job)
        places, copied = _Places(), 0
        with job.progress.bar("writing images", len(job.chosen.positions) + len(others)) as advance:
            for file in chain(samples, others):
                source = _content(file)
                target = folder / places.of(file, _suffix(source, file.name))
                target.parent.mkdir(parents=True, exist_ok=True)
                copied += _place(source, target, link=job.link)
                advance(1)
        if others:
            several = len(others) != 1
            job.notes.append(f"{len(others):,} file{'s' * several} beside the samples handed on unread")
        if places.renamed:
            job.notes.append(f"{places.renamed:,} folders cannot have the names of their classes")
        if job.link and copied:
            job.notes.append(f"{copied:,} of the files are copies: they cannot be linked from here")


def _of_folder(job: Job) -> tuple[Iterator[_File], list[_File]]:
    """The files of a folder of images that stay, and its other ones."""
    original, chosen = job.original, job.chosen
    assert isinstance(original, Original)
    tree = original.tree()
    listing = tree.listing()
    names = sample_names(listing)
    check_rows(original.root, len(names), chosen)

    def read(name: str) -> Path | bytes:
        path = tree.path(name)
        if path is not None:
            return path
        content = next(tree.fetch([name]))
        if isinstance(content, Unreadable):
            raise content
        return content

    def file(name: str, noun: str, new: str | None = None) -> _File:
        label, _, rest = name.partition("/")
        return _File(partial(read, name), f"{noun} {name!r}", new or label, name, rest.rpartition("/")[0])

    samples = (file(names[one], "sample", chosen.labels.get(one)) for one in chosen.positions.tolist())
    return samples, [file(name, "file") for name in other_names(listing)]


def _of_samples(job: Job) -> tuple[Iterator[_File], list[_File]]:
    """The files that the samples of any other source were read from."""
    reader, chosen, start = job.samples().reader, job.chosen, 0
    staying = set(job.fates.staying.tolist())

    def samples() -> Iterator[_File]:
        nonlocal start
        for batch in job.run.batches(["id", "position", "label"]):
            for row, values in enumerate(batch.to_pylist(), start):
                if row in staying:
                    position, name = values["position"], values["id"]
                    label = str(chosen.labels.get(position, values["label"]))
                    read = partial(reader.file, position)
                    yield _File(read, f"sample {name!r}", label, name.replace("\\", "/"), None)
            start += len(batch)

    return samples(), []


def _content(file: _File) -> Path | bytes:
    """The path or the bytes of a file.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    try:
        source = file.read()
    except Unreadable as error:
        raise DataError("cannot be read any more", place=file.place, found=str(error)) from None
    if source is None:
        raise DataError(
            "the samples of this dataset are not files",
            place=file.place,
            hint="leave out --format, or write --format indices",
        )
    return source


def _suffix(source: Path | bytes, name: str) -> str:
    """The suffix of a file; of a file from an archive by its name, or else by its content."""
    if isinstance(source, Path):
        return source.suffix
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in SUFFIXES:
        return suffix
    from PIL import Image

    try:
        found = f".{Image.open(io.BytesIO(source)).format}".lower()
    except OSError:
        return suffix
    return found if found in SUFFIXES else suffix


class _Places:
    """From files to paths below the new folder, which differ even if upper and lower case are ignored."""

    def __init__(self) -> None:
        self._labels = Names([MANIFEST, MARK])
        self._folders: dict[str, str] = {}
        self._names: dict[str, Names] = {}

    @property
    def renamed(self) -> int:
        """The number of folders that could not get the name of their class."""
        return sum(label != folder for label, folder in self._folders.items())

    def of(self, file: _File, suffix: str) -> PurePosixPath:
        """The path of a file."""
        if file.label not in self._folders:
            self._folders[file.label] = self._labels.new([file.label])
        folder = PurePosixPath(
            self._folders[file.label], *map(safe_name, filter(None, (file.below or "").split("/")))
        )
        stems = [PurePosixPath(file.name).name.removesuffix(suffix)]
        if file.below is None:
            stems.append(file.name.removesuffix(suffix))
        names = self._names.setdefault(str(folder).casefold(), Names())
        return folder / names.new(stems, suffix)


def _place(source: Path | bytes, target: Path, *, link: bool) -> bool:
    """Write a file; never through an existing link.

    Returns:
        Whether it is a copy.
    """
    try:
        if isinstance(source, bytes):
            target.write_bytes(source)
            return True
        refuse_special(source, DataError)
        if link:
            try:
                os.link(source.resolve(), target)
                return False
            except OSError:
                pass
        with source.open("rb") as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
        return True
    except OSError as error:
        name = target.name if isinstance(source, bytes) else str(source)
        raise RunError("cannot be copied", place=name, found=error.strerror or str(error)) from None
