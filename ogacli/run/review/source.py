"""What is shown of any sample of a run: from the run directory, or else read from the source.

In: a run. Out: for a position a picture or text, or nothing.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from ogacli.errors import ConfigError, DataError, RunError
from ogacli.run.directory import Run
from ogacli.run.reports.pictures import Shown, look
from ogacli.run.reports.review import TEXT, from_previews
from ogacli.run.trim.unchanged import check_fingerprint

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source


class Looks:
    """Shows samples. The source is opened when it is first needed.

    Args:
        run: The run.
        source: The source to read, in place of that of the run's own config, which may not run code.
    """

    def __init__(self, run: Run, source: Source | None = None) -> None:
        self.not_read: str | None = None
        """Why the source cannot be read; None where it can, or was not needed."""
        self._run = run
        self._source = source
        self._saved = from_previews(run)
        self._lock = threading.Lock()

    def __call__(self, position: int) -> Shown | None:
        """The picture or text at a position of the source; None where there is none to show.

        Raises:
            DataError: The source that was given is not the one that was scanned.
        """
        shown = self._saved(position)
        if shown is not None:
            return shown
        with self._lock:  # readers are not made for several threads
            samples = self._samples
            if samples is None or not bool((samples.positions == position).any()):
                return None
            from ogacli.data import Unreadable

            try:
                preview = samples.reader.preview(position)
            except Unreadable:
                return None
        return look(preview.kind, preview.content, TEXT)

    @cached_property
    def _samples(self) -> Samples | None:
        from ogacli.data.sources import source_of  # imports torch

        try:
            samples = (self._source or source_of(self._run.config.get("data"), self._run.config_file)).open()
            check_fingerprint(samples, self._run)
        except (ConfigError, RunError, DataError) as error:
            if self._source is not None:
                raise
            self.not_read = str(error).partition("\n")[0]
            return None
        return samples
