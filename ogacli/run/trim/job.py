"""``Job``: what a format is given to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ogacli.base.progress import Progress
from ogacli.base.registry import type_name
from ogacli.data.originals import Original
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim.chosen import Chosen, chosen_of
from ogacli.run.trim.fates import Fates, Options

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source


@dataclass
class Job:
    """A run, what becomes of its samples, and its source."""

    run: Run
    options: Options
    fates: Fates
    original: Original | None
    """The user's own files; None where the samples are not rows of such files."""
    destination: Path
    progress: Progress
    link: bool = False
    """Whether files of pictures are hard links where that is possible."""
    given: Source | None = None
    """The source in place of that of the run."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of the result; sentences. A format adds to them."""

    @cached_property
    def chosen(self) -> Chosen:
        """The rows that stay."""
        return chosen_of(self.run, self.fates, self.original, before=self.options.relabel)

    def source(self) -> Source:
        """The source, which imports torch.

        Raises:
            ConfigError: The run's data section is none.
            RunError: The source would run code, or the samples were objects in memory.
        """
        from ogacli.data.sources import source_of

        return self.given or source_of(self.run.config.get("data"), self.run.config_file)

    def samples(self) -> Samples:
        """The samples, as they were scanned; they were compared with the run already."""
        return self.source().open()

    def added(self, names: Sequence[str]) -> None:
        """Tell which columns were added."""
        if names:
            shown = ", ".join(f"`{name}`" for name in names)
            self.notes.append(f"added {'the column' if len(names) == 1 else 'the columns'} {shown}")

    def without_rows(self, format: str) -> RunError:
        """The error for a format that writes the user's own rows, where there are none of its kind."""
        section = self.run.config.get("data")
        name = section.get("source") if isinstance(section, dict) else section
        if self.original is None:
            return RunError(
                "this source has no rows of its own that could be written",
                place=f"--to {self.destination}",
                found=f"data.source {name}",
                expected="a table, texts, a dataset of the library `datasets`, image files, shards or arrays",
                hint="write the positions of the kept samples (--format indices, or a name in .npy), "
                "or every sample's fate (--manifest FILE)",
            )
        own = self.original.own_format
        return RunError(
            f"samples of the source {type_name(self.original)} cannot be written as {format}",
            place=f"--to {self.destination}",
            expected=f"--format {own}" if own else None,
            hint="or write the positions of the kept samples: --format indices",
        )
