"""Where samples come from: one file a source.

In: the ``data:`` section. Out: ``Samples``. A new source is a new file here with one class under
``@sources.register``, named as its module.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from ogacli.base.options import Location, Options
from ogacli.base.registry import Registry
from ogacli.base.yaml_document import Checker, Document
from ogacli.data.rows import Rows
from ogacli.data.samples import Samples
from ogacli.data.selection import Limit, flip_labels, kept_ids, limited
from ogacli.errors import ConfigError, RunError

MEMORY = "memory"
"""In place of a source in the settings of a run whose samples were Python objects."""


class Source(Options):
    """What every ``data:`` section may say, whatever its source."""

    limit: Annotated[int, Field(ge=1)] | Limit | None = None
    """Only the first so many samples, or ``{count: .., seed: ..}`` for a random choice."""
    manifest: Location | None = None
    """A manifest written by ``oga trim``: samples that it dropped or quarantined are left out and
    relabelled ones carry their new label."""
    flip: Annotated[float, Field(ge=0, le=1)] | None = None
    """For experiments: give this share of the samples another label, drawn uniformly; the original ones
    are kept as the truth."""
    flip_seed: int = 0
    """Which samples ``flip`` picks."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that read and decode; ``auto``: none for data in memory, one a core otherwise."""

    runs_code: ClassVar[bool] = False
    """Whether the section may name code of the user's own, which is imported when the source is opened."""

    def includes(self, folder: Path) -> bool:
        """Whether images in a folder would become samples of this source.

        Args:
            folder: Absolute, with links resolved.
        """
        return False

    def rows(self) -> Rows | None:
        """The rows as a dataset of the library ``datasets``; None where the source reads no such dataset."""
        return None

    @abstractmethod
    def load(self) -> Samples:
        """All samples of the source, before ``flip``, ``manifest`` and ``limit``.

        Raises:
            DataError: The dataset cannot be read as the config says.
        """

    def open(self) -> Samples:
        """The samples that the config asks for.

        Raises:
            DataError: The dataset cannot be read as the config says.
        """
        samples = self.load()
        if self.flip is not None:
            samples = flip_labels(samples, self.flip, self.flip_seed)
        if self.manifest is not None:
            samples = kept_ids(samples, self.manifest)
        if self.limit is not None:
            samples = limited(samples, self.limit)
        # Arrow keeps what it has freed: some 150 bytes a sample, for as long as the scan runs.
        pa.default_memory_pool().release_unused()
        return samples


sources: Registry[type[Source]] = Registry("ogacli.data.sources", "data source")


def source_of(section: object, place: Path) -> Source:
    """The source that a data section describes, without running code that the section names.

    A run directory may come from anybody. Its data section is therefore taken as it is: no environment
    variable is put into it, and a source that runs code, or comes from another distribution, is refused.

    Args:
        section: The section as plain values.
        place: The file that it comes from, for messages; relative paths are relative to its folder.

    Raises:
        ConfigError: It is not a data section.
        RunError: It would run code, or the samples were objects in memory.
    """
    checker = Checker(Document(str(place), place.parent.absolute(), {}, {}))
    name = section.get("source") if isinstance(section, dict) else section
    if name == MEMORY:
        raise RunError(
            "the samples of this run were objects in memory, which cannot be opened again",
            place=f"{place}: data.source",
            found=MEMORY,
            hint="write a manifest (csv, jsonl, parquet) or the kept positions (npy), or add --config FILE",
        )
    cls = checker.parsed(sources.get, str(name), ("data", "source"))
    if cls is not None and (cls.runs_code or not cls.__module__.startswith(f"{__name__}.")):
        raise RunError(
            "this source of data may run code, and none is run on the word of a run directory",
            place=f"{place}: data.source",
            found=name,
            hint="add --config FILE, the config that was scanned, if you trust it",
        )
    found: Source | None = None
    if cls is not None:
        found = checker.named(sources, section, ("data",), by="source")
    if found is None:
        raise ConfigError.of(checker.problems)
    return found
