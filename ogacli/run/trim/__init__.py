"""``oga trim``: writes the cleaned dataset of a run.

In: a ``Run``. Out: the user's own rows without the dropped ones, and the manifest: every sample's fate. The
dataset itself is never changed. A new format is a new file here with one class under ``@formats.register``
(named as its module) or ``@formats.register_as(name)``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

from ogacli.base.atomic import new_file
from ogacli.base.options import path_given
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import Registry, described
from ogacli.data.originals import Original, original_of
from ogacli.errors import ConfigError, OgaError, RunError
from ogacli.run.directory import MANIFEST, Run
from ogacli.run.trim.fates import Options, fates_of
from ogacli.run.trim.folder import check_apart, new_dataset
from ogacli.run.trim.job import Job
from ogacli.run.trim.manifest import budget_given, manifest_format, write_manifest
from ogacli.run.trim.unchanged import compare_source
from ogacli.verdict.budget import Budget

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data.sources import Source


class Format:
    """A form of the cleaned dataset."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The format is chosen by these suffixes of the destination."""
    own_rows: ClassVar[bool] = True
    """Whether it writes rows of the source, which must be the one that was scanned then."""

    def check(self, job: Job) -> None:
        """Check that the source offers what the format needs, before anything is read.

        Raises:
            RunError: It does not.
        """


class FileFormat(Format):
    """A file."""

    @abstractmethod
    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write the file.

        Args:
            job: The run, what becomes of its samples, and their source.
            file: Empty.

        Raises:
            OgaError: The samples cannot be written in this format.
        """


class FolderFormat(Format):
    """A folder."""

    @abstractmethod
    def write(self, job: Job, folder: Path) -> None:
        """Write the samples that stay.

        Args:
            job: The run, what becomes of its samples, and their source.
            folder: Empty; the manifest is added by the caller.

        Raises:
            OgaError: The samples cannot be written in this format.
        """


formats: Registry[type[Format]] = Registry(__name__, "trim format")


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What was written."""

    path: Path | None
    """The cleaned dataset; None where only the manifest was asked for."""
    format: str | None
    manifest: Path | None
    """The manifest that was asked for, or else that in the run directory; None without either."""
    fates: Mapping[str, int]
    """The numbers of kept, dropped, relabelled and quarantined samples."""
    not_compared: str | None = None
    """Why the source could not be compared with the one that was scanned; None where it is the same."""
    notes: tuple[str, ...] = ()
    """What the user should know of the result; sentences."""


def trim(
    run: Run | str | Path,
    to: str | Path | None = None,
    *,
    budget: Budget | str | float | None = None,
    decisions: str | Path | None = None,
    relabel: bool = False,
    weights: bool = False,
    near_duplicates: bool = False,
    leaks: bool = False,
    keep_quarantined: bool = False,
    manifest: str | Path | None = None,
    link: bool = False,
    spreadsheet_safe: bool = False,
    format: str | None = None,
    source: Source | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trimmed:
    """Write the cleaned dataset of a run: the user's own rows without the dropped ones.

    Args:
        run: The run, or its folder.
        to: The file or folder to write; may be left out where a manifest is asked for.
        budget: Flag another share of the samples than the scan did: a fraction, a count, ``auto``, or after a
            scan with it ``benefit``.
        decisions: What ``oga review`` exports, or a table with the columns ``id``, ``action`` (keep, drop or
            relabel) and, for relabel, ``label``; it overrules the flags.
        relabel: Give flagged samples the suggested label where it is more probable than the bound
            ``relabel: {above: ..}`` of the run; the others are dropped. The column ``<label>_before`` holds
            the old label of relabelled rows.
        weights: Drop no flagged sample; the column ``weight`` holds the probability that the given label is
            right.
        near_duplicates: Keep one of each group of near-duplicates, the one whose label is most probably
            right; the scan must have looked for them.
        leaks: Drop the samples that the dataset ``against`` of the scan has as well.
        keep_quarantined: Keep samples that could not be scored.
        manifest: A csv, jsonl or parquet file for the fate of every sample. ``manifest.parquet`` in the run
            directory always holds that of the last call.
        link: Make the image files of a folder hard links where the file system allows it.
        spreadsheet_safe: Put an apostrophe before the texts of a csv manifest that a spreadsheet would run.
        format: The name of one of ``formats``; from the suffix of ``to`` where left out, and without a suffix
            that of the source.
        source: The source to open in place of the data section of the run, which may not run code. Where the
            source is no longer the one that was scanned, nothing is written.
        overwrite: Replace earlier files, or a folder that oga wrote.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the run or the data is not usable; nothing is written then.
    """
    opened = Run.open(run)
    section = opened.config.get("data") if source is None else described(source, "source")
    destination = None if to is None else _destination(to)
    listed = None if manifest is None else path_given(manifest, "manifest")
    if destination is None and listed is None:
        raise ConfigError("nothing to write", place="to", hint="give --to DEST, --manifest FILE, or both")
    if listed is not None and listed == destination:
        raise ConfigError("the dataset and the manifest are one file", place=f"--manifest {listed}")
    original, problem = _original(section, opened, trusted=source is not None)
    name = None if destination is None else format or _format_of(destination, original)
    writer = None if name is None else formats.get(name)()
    if problem is not None and writer is not None and writer.own_rows:
        raise problem
    options = Options(
        budget_given(budget),
        decisions,
        relabel,
        weights,
        near_duplicates,
        leaks,
        keep_quarantined,
        spreadsheet_safe,
    )
    fates = fates_of(opened, options)
    job = Job(opened, options, fates, original, destination or opened.path, progress, link, source)
    if destination is not None:
        check_apart(section, destination, folder=isinstance(writer, FolderFormat))
    if writer is not None:
        writer.check(job)
    not_compared = compare_source(opened, source, original, needed=writer is not None and writer.own_rows)
    with ExitStack() as stack:
        if listed is not None:
            form = manifest_format(listed)
            file = stack.enter_context(new_file(listed, overwrite=overwrite))
            write_manifest(opened, fates, options, file, form)
        if destination is not None:
            _write(writer, job, destination, overwrite=overwrite)
    kept = _in_run(job)
    return Trimmed(destination, name, listed or kept, fates.counts(), not_compared, tuple(job.notes))


def _write(writer: Format | None, job: Job, destination: Path, *, overwrite: bool) -> None:
    if isinstance(writer, FolderFormat):
        with new_dataset(job, destination, overwrite=overwrite) as folder:
            writer.write(job, folder)
    elif isinstance(writer, FileFormat):
        with new_file(destination, overwrite=overwrite) as file:
            writer.write(job, file)


def _in_run(job: Job) -> Path | None:
    """Write the manifest into the run directory; a directory that may not be written is left alone."""
    path = job.run.path / MANIFEST
    try:
        with new_file(path, overwrite=True) as file:
            write_manifest(job.run, job.fates, job.options, file, "parquet")
    except RunError as error:
        job.notes.append(
            f"the run directory cannot be written, so that it has no manifest of this ({error.found})"
        )
        return None
    return path


def _original(section: object, run: Run, *, trusted: bool) -> tuple[Original | None, OgaError | None]:
    """The user's own files, if there are any; or what is wrong with the data section."""
    try:
        return original_of(section, run.config_file, trusted=trusted), None
    except (ConfigError, RunError) as error:
        return None, error


def destination_for(run: Run) -> str | None:
    """A name to write the cleaned dataset of a run to, in the format that it has; None without own rows."""
    try:
        original = original_of(run.config.get("data"), run.config_file)
        own = "" if original is None else original.own_format
    except OgaError:
        own = ""
    if not own:
        return None
    suffixes = formats.get(own).suffixes
    return f"clean{suffixes[0] if suffixes else ''}"


def _destination(to: str | Path) -> Path:
    """The destination, on this machine.

    Raises:
        ConfigError: It is a URL.
    """
    if isinstance(to, str) and "://" in to:
        raise ConfigError(
            "datasets are written to this machine only",
            place=f"--to {to}",
            expected="a path",
            hint="write it here, and copy it there",
        )
    return path_given(to, "to")


def _format_of(destination: Path, original: Original | None) -> str:
    """The format whose suffix the destination has, or that of the source where it has none.

    Raises:
        ConfigError: There is none.
    """
    names = {suffix: name for name in formats.names() for suffix in formats.get(name).suffixes}
    found = names.get(destination.suffix.lower())
    if found is None and not destination.suffix and original is not None:
        own = original.own_format
        found = own if own and issubclass(formats.get(own), FolderFormat) else None
    if found is None:
        raise ConfigError(
            "the format cannot be told from the name",
            place=f"--to {destination}",
            expected=f"a suffix ({', '.join(names)}) or --format {'|'.join(formats.names())}",
        )
    return found
