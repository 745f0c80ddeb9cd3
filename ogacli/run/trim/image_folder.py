"""The images of the samples that stay: ``<label>/<file>``, and the manifest beside them.

In: a run and its manifest. Out: a folder of hard links where the file system allows, of copies otherwise. The
dataset itself is never touched.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ogacli.base.atomic import new_folder
from ogacli.base.progress import Progress
from ogacli.base.registry import type_name
from ogacli.base.tables import write_table
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.run.directory import Run

if TYPE_CHECKING:
    from ogacli.data import Samples
    from ogacli.data.sources import Source

_MANIFEST = "manifest.csv"
_MARK = ".oga.json"
_KIND = "oga trimmed dataset"
_LONGEST = 200
"""Bytes of a name without its suffix; file systems allow 255 in all."""


def write_images(
    run: Run,
    manifest: pa.Table,
    stays: pa.Table,
    destination: Path,
    *,
    config: str | Path | None,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Write the images of the samples that stay.

    Args:
        run: The run of the manifest.
        manifest: Every sample and its fate; written beside the images.
        stays: The rows of it that are kept or relabelled.
        destination: The folder to be.
        config: As of :func:`source_of`.
        overwrite: Replace an earlier one.
        progress: Told how far it is.

    Raises:
        OgaError: The dataset has changed or lies in the destination, or its samples are not files.
    """
    source = source_of(run, config)
    check_apart(source, destination)
    samples = reopened(run, source)
    with (
        folder_with(manifest, destination, overwrite=overwrite) as work,
        progress.bar("writing images", stays.num_rows) as advance,
    ):
        for file, name in _placed(samples, stays):
            target = work / name
            target.parent.mkdir(exist_ok=True)
            _place(file, target)
            advance(1)


@contextmanager
def folder_with(manifest: pa.Table, destination: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder with a manifest and a mark in it, which is known by them when it is to be replaced.

    The mark tells the files that were written; where some were added or taken away, it is replaced no more.
    """

    def ours(folder: Path) -> bool:
        return _header(folder / _MANIFEST) == list(manifest.column_names) and _marked(folder)

    with new_folder(destination, overwrite=overwrite, ours=ours) as work:
        yield work
        with (work / _MANIFEST).open("wb") as file:
            write_table(manifest, file, "csv")
        (work / _MARK).write_text(json.dumps(_mark(work)) + "\n", encoding="utf-8")


def _mark(folder: Path) -> dict[str, Any]:
    """What tells a folder of ours, and the names of all files in it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    names = [name for name in names if name != _MARK]
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return {"kind": _KIND, "schema_version": 1, "files": len(names), "names": digest}


def _marked(folder: Path) -> bool:
    mark = folder / _MARK
    if folder.is_symlink() or mark.is_symlink():
        return False
    try:
        return bool(json.loads(mark.read_text(encoding="utf-8")) == _mark(folder))
    except (OSError, ValueError):
        return False


def check_apart(source: Source, destination: Path) -> None:
    """Refuse a folder that holds the data, which would be replaced, or that would become a class of it."""
    data, there = source.model_dump(mode="json", exclude_none=True), destination.resolve()
    for key, value in data.items():
        if not (isinstance(value, str) and os.path.isabs(value)):
            continue
        place = Path(value).resolve()
        becomes_class = type_name(source) == "image_folder" and key == "root"
        if place.is_relative_to(there) or (becomes_class and there.is_relative_to(place)):
            raise RunError(
                "the dataset itself lies there",
                place=str(destination),
                found=f"data.{key} is {value}",
                hint="choose another folder; the dataset is left as it is",
            )


def source_of(run: Run, config: str | Path | None) -> Source:
    """The data section of a run, or of a config that the user names.

    A run directory is data, wherever it comes from: nothing but the data section of its config is looked at,
    no environment variable is put into it, and it cannot name code to be imported.

    Args:
        run: Whose config is taken.
        config: A config file instead; it may run code.

    Raises:
        ConfigError: The data section is not one.
        RunError: It would run code, and ``config`` is left out.
    """
    from ogacli.base.yaml_document import Checker, Document
    from ogacli.config import load_config
    from ogacli.data.sources import sources

    if config is not None:
        return load_config(config).data
    values, key = run.config.get("data"), ("data",)
    checker = Checker(Document(str(run.config_file), run.path.absolute(), {}, {}))
    name = values.get("source") if isinstance(values, dict) else values
    cls = checker.parsed(sources.get, str(name), ("data", "source"))
    if cls is not None and (cls.runs_code or not cls.__module__.startswith("ogacli.data.")):
        raise RunError(
            "this source of data may run code, and none is run on the word of a run directory",
            place=f"{run.config_file}: data.source",
            found=name,
            hint="add --config FILE, the config that was scanned, if you trust it",
        )
    source: Source | None = checker.named(sources, values, key, by="source") if cls is not None else None
    if source is None:
        raise ConfigError.of(checker.problems)
    return source


def reopened(run: Run, source: Source) -> Samples:
    """The dataset of a run, unchanged since the scan.

    Raises:
        DataError: It has changed, or the source is of another dataset.
    """
    samples = source.open()
    if samples.fingerprint != run.provenance["dataset"]["fingerprint"]:
        raise DataError(
            "the dataset has changed since the scan", place=str(run.path), hint="scan it again, then trim"
        )
    return samples


def _header(table: Path) -> list[str]:
    """The first line of a csv file; empty where there is none."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []


def _placed(samples: Samples, stays: pa.Table) -> Iterator[tuple[Path | bytes, PurePosixPath]]:
    """The file of each sample, and where it goes."""
    folders: dict[str, tuple[str, _Names]] = {}
    taken = _Names([_MANIFEST, _MARK])
    for row in stays.to_pylist():
        source = _file(samples, row)
        label = str(row["label"] if row["new_label"] is None else row["new_label"])
        if label not in folders:
            folders[label] = taken.new([label]), _Names()
        folder, files = folders[label]
        name, suffix = row["id"].replace("\\", "/"), _suffix(source, row["id"])
        stems = (PurePosixPath(name).name.removesuffix(suffix), name.removesuffix(suffix))
        yield source, PurePosixPath(folder, files.new(stems, suffix))


def _file(samples: Samples, row: dict[str, Any]) -> Path | bytes:
    from ogacli.data import Unreadable

    place = f"sample {row['id']!r}"
    try:
        source = samples.reader.file(row["position"])
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
    """Of a file; where it comes out of an archive, of its name or else of what it holds."""
    from PIL import Image

    from ogacli.data.images import SUFFIXES

    if isinstance(source, Path):
        return source.suffix
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in SUFFIXES:
        return suffix
    try:
        found = f".{Image.open(io.BytesIO(source)).format}".lower()
    except OSError:
        return ""
    return found if found in SUFFIXES else ""


class _Names:
    """Names in one folder: they stay inside it, and differ even where upper and lower case do not count."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}

    def new(self, wanted: Iterable[str], suffix: str = "") -> str:
        """The first of the wanted ones that is free, or else the last one with a number."""
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
    """Hard link where the file system allows, a copy otherwise; never through a link that is there."""
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
