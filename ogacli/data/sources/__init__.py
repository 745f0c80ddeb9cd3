"""Sources of samples: one file a source.

In: the ``data:`` section. Out: ``Samples``. A new source is a new file here with one class under
``@sources.register``, named as its module.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from ogacli.base.limits import USUAL, Limits, refuse_raised
from ogacli.base.options import Key, Location, Options, dotted
from ogacli.base.registry import Registry, resolve
from ogacli.data.labels.annotations import annotated
from ogacli.data.rows import Rows
from ogacli.data.samples import Samples
from ogacli.data.selection import Limit, flip_labels, kept_ids, limited
from ogacli.errors import ConfigError, RunError

MEMORY = "memory"
"""The name of the source in the settings of a run on Python objects."""


class Source(Options):
    """The keys of every ``data:`` section."""

    limit: Annotated[int, Field(ge=1)] | Limit | None = None
    """Only this many samples, the first ones; or ``{count: .., seed: ..}`` for a random subset."""
    manifest: Location | None = None
    """A manifest written by ``oga trim --manifest``: dropped and quarantined samples are left out; relabelled
    ones have their new label."""
    flip: Annotated[float, Field(ge=0, le=1)] | None = None
    """For experiments: give this share of the samples another label, drawn uniformly; the original ones
    are kept as the truth."""
    flip_seed: int = 0
    """Seed of ``flip``."""
    annotators: Location | tuple[str, ...] | None = None
    """A table of the labels of several annotators, with the columns ``id``, ``annotator`` and ``label``: the
    label of a sample is their consensus."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Number of processes that read and decode; ``auto``: none for data in memory, otherwise one a core."""

    limits: Limits | None = None
    """What archives, arrays, tables and pictures may take in memory: ``{unpacked, pixels, files}``."""

    runs_code: ClassVar[bool] = False
    """Whether the section may name the user's code, which is imported when the source is opened."""

    @property
    def bounds(self) -> Limits:
        """The limits, with the usual ones where none are given."""
        return self.limits or USUAL

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
            DataError: The dataset cannot be read as the config describes it.
        """

    def open(self) -> Samples:
        """The samples that the config selects.

        Raises:
            DataError: The dataset cannot be read as the config describes it.
        """
        samples = self.load()
        if isinstance(self.annotators, str):
            samples = annotated(samples, self.annotators)
        if self.flip is not None:
            samples = flip_labels(samples, self.flip, self.flip_seed)
        if self.manifest is not None:
            samples = kept_ids(samples, self.manifest)
        if self.limit is not None:
            samples = limited(samples, self.limit)
        # Arrow keeps freed memory: about 150 bytes a sample during the whole scan.
        pa.default_memory_pool().release_unused()
        return samples


sources: Registry[type[Source]] = Registry("ogacli.data.sources", "data source")


def source_of(section: object, place: Path) -> Source:
    """The source that a data section describes, without running code that the section names.

    A run directory may come from an untrusted author. Therefore environment variables in the section are not
    replaced, and a source that runs code or belongs to another distribution is refused.

    Args:
        section: The section as plain values.
        place: The file with the section; relative paths are relative to its folder.

    Raises:
        ConfigError: It is not a data section.
        RunError: It would run code or raise a limit, or the samples were objects in memory.
    """

    def where(key: Key) -> str:
        return f"{place}: {dotted(('data', *key))}"

    name = section.get("source") if isinstance(section, dict) else section
    if name == MEMORY:
        raise RunError(
            "the samples of this run were objects in memory, which cannot be opened again",
            place=where(("source",)),
            found=MEMORY,
            hint="write a manifest (csv, jsonl, parquet) or the kept positions (npy), or add --config FILE",
        )
    try:
        cls = sources.get(str(name))
    except ConfigError as error:
        raise error.at(where(("source",))) from None
    if cls.runs_code or not cls.__module__.startswith(f"{__name__}."):
        raise RunError(
            "this source of data may run code, and none is run that only a run directory names",
            place=where(("source",)),
            found=name,
            hint="add --config FILE, the config that was scanned, if you trust it",
        )
    found = resolve(sources, section, by="source", place=where, base=place.parent.absolute())
    refuse_raised(found.bounds, lambda name: where(("limits", name)))
    return found
