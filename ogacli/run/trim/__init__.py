"""``oga trim``: writes the cleaned dataset of a run.

In: a ``Run``. Out: a file or a folder. The dataset itself is never changed. A new format is a new file here
with one class under ``@formats.register`` (named as its module) or ``@formats.register_as(name)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base.atomic import new_file
from ogacli.base.options import path_given
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import Registry
from ogacli.errors import ConfigError
from ogacli.run.directory import Run
from ogacli.run.trim.fates import FATES
from ogacli.run.trim.folder import check_apart, folder_with, reopened
from ogacli.run.trim.manifest import manifest_table, staying
from ogacli.run.trim.unchanged import compare_source
from ogacli.verdict.budget import Budget

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source


class Format:
    """A form of the cleaned dataset."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The format is chosen by these suffixes of the destination."""


class FileFormat(Format, ABC):
    """A file that needs only the manifest; the data is not opened."""

    @abstractmethod
    def write(self, manifest: pa.Table, file: IO[bytes]) -> None:
        """Write the file.

        Args:
            manifest: Every sample and its fate.
            file: Empty.
        """


class FolderFormat(Format, ABC):
    """A folder that needs the data of the run, which is opened again."""

    def check(self, source: Source) -> None:
        """Check that the source offers what the format needs, before the data is read.

        Raises:
            RunError: It does not.
        """

    @abstractmethod
    def write(
        self, source: Source, samples: Samples, stays: pa.Table, folder: Path, progress: Progress
    ) -> int:
        """Write the samples that stay.

        Args:
            source: The data section of the run.
            samples: Its samples.
            stays: The rows of the manifest that are kept or relabelled.
            folder: Empty; the manifest is added by the caller.
            progress: Shows the progress.

        Returns:
            How many files that are no samples were written too.

        Raises:
            OgaError: The samples cannot be written in this format.
        """


formats: Registry[type[Format]] = Registry(__name__, "trim format")


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The written file or folder."""

    path: Path
    format: str
    fates: Mapping[str, int]
    """The numbers of kept, dropped, relabelled and quarantined samples."""
    not_compared: str | None = None
    """Why the source could not be compared with the one that was scanned; None where it is the same."""
    others: int = 0
    """Files beside the samples, such as ``.gif``, that were handed on unread."""


def trim(
    run: Run | str | Path,
    to: str | Path,
    *,
    budget: Budget | str | float | None = None,
    decisions: str | Path | None = None,
    relabel: bool = False,
    weights: bool = False,
    format: str | None = None,
    source: Source | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trimmed:
    """Write the cleaned dataset of a run.

    Args:
        run: The run, or its folder.
        to: The file or folder to write.
        budget: Flag another share of the samples than the scan did: a fraction, a count, ``auto``, or after a
            scan with it ``benefit``.
        decisions: What ``oga review`` exports, or a table with the columns ``id``, ``action`` (keep, drop or
            relabel) and, for relabel, ``label``; it overrules the flags.
        relabel: Give flagged samples the suggested label where it is more probable than the bound
            ``relabel: {above: ..}`` of the run; the others are dropped.
        weights: Drop no flagged sample; the manifest has the column ``weight``, the probability that the
            given label is right.
        format: The name of one of ``formats``; from the suffix of ``to`` where left out.
        source: The source to open in place of the data section of the run, which may not run code. Where the
            source is no longer the one that was scanned, nothing is written.
        overwrite: Replace an earlier file or folder that oga wrote.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the run or the data is not usable; nothing is written then.
    """
    opened, destination = Run.open(run), path_given(to, "to")
    name = _by_suffix(destination) if format is None else format
    writer = formats.get(name)()
    manifest = manifest_table(opened, budget=budget, decisions=decisions, relabel=relabel, weights=weights)
    not_compared, others = None, 0
    if isinstance(writer, FolderFormat):
        others = _write_folder(
            writer, opened, manifest, destination, source, overwrite=overwrite, progress=progress
        )
    elif isinstance(writer, FileFormat):
        not_compared = compare_source(opened, source)
        with new_file(destination, overwrite=overwrite) as file:
            writer.write(manifest, file)
    fates = dict.fromkeys(FATES, 0)
    fates |= {row["values"]: row["counts"] for row in pc.value_counts(manifest.column("fate")).to_pylist()}
    return Trimmed(destination, name, fates, not_compared, others)


def _write_folder(
    writer: FolderFormat,
    run: Run,
    manifest: pa.Table,
    destination: Path,
    source: Source | None,
    *,
    overwrite: bool,
    progress: Progress,
) -> int:
    from ogacli.data.sources import source_of

    if source is None:
        source = source_of(run.config.get("data"), run.config_file)
    writer.check(source)
    check_apart(source, destination)
    samples = reopened(run, source)
    with folder_with(manifest, destination, overwrite=overwrite) as folder:
        return writer.write(source, samples, staying(manifest), folder, progress)


def _by_suffix(destination: Path) -> str:
    """The format whose suffix the destination has.

    Raises:
        ConfigError: There is none.
    """
    names = {suffix: name for name in formats.names() for suffix in formats.get(name).suffixes}
    found = names.get(destination.suffix.lower())
    if found is None:
        raise ConfigError(
            "the format cannot be told from the name",
            place=f"--to {destination}",
            expected=f"a suffix ({', '.join(names)}) or --format {'|'.join(formats.names())}",
        )
    return found
