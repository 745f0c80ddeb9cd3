"""Where samples come from: one file a source.

In: the ``data:`` section. Out: ``Samples``. A new source is a new file here with one class under
``@sources.register``, named as its module.
"""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from ogacli.base.options import Location, Options
from ogacli.base.registry import Registry
from ogacli.data.samples import Samples
from ogacli.data.selection import Limit, flip_labels, kept_ids, limited


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
