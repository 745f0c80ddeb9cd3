"""``oga review``: the report of a run with the pictures of all flagged samples, as a file or by a server.

In: a run. Out: a page in which people decide on the flagged samples. Pictures and texts that the run
directory does not hold are read from the source, where it is still there and unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ogacli.base.atomic import new_file
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.reports.html import page_of
from ogacli.run.reports.review import BYTES, Review
from ogacli.run.reports.review import review as page_data
from ogacli.run.review.saved import SavedDecisions
from ogacli.run.review.source import Looks

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data.sources import Source


@dataclass(frozen=True, slots=True)
class Page:
    """The written page."""

    path: Path
    flagged: int
    """All flagged samples."""
    shown: int
    """How many of them are on the page."""
    without_look: int
    """How many of these have a picture or text that would make the page larger than it may be, or none."""
    not_read: str | None
    """Why the source was not read; None where it was."""

    @property
    def complete(self) -> bool:
        """Whether all flagged samples are on the page, with what there is to see of them."""
        return self.shown == self.flagged and not self.without_look


def review(
    run: Run | str | Path,
    destination: str | Path | None = None,
    *,
    source: Source | None = None,
    overwrite: bool = False,
    limit: int = BYTES,
) -> Page:
    """Write the page of a run in which people decide on its flagged samples.

    Args:
        run: The run, or its folder.
        destination: The file; ``report.html`` in the run directory, which is replaced, where left out.
        source: The source to read, in place of that of the run's own config, which may not run code.
        overwrite: Replace a file that exists.
        limit: The size of the page, in bytes.

    Raises:
        RunError: The run cannot be read, has no flagged sample, or the file cannot be written.
        DataError: The source that was given is not the one that was scanned.
    """
    opened = with_flags(run)
    looks = Looks(opened, source)
    found = page_data(opened, looks, limit=limit)
    path = opened.path / "report.html" if destination is None else Path(destination)
    with new_file(path, overwrite=overwrite or destination is None) as file:
        file.write(page_of(opened, found).encode())
    return Page(path, found.flagged, found.rows, found.left_out, looks.not_read)


def served_page(run: Run, saved: SavedDecisions) -> tuple[str, Review]:
    """The page as a server sends it, without pictures and texts, and what it holds.

    Args:
        run: The run.
        saved: The decisions made before, and the file that they are saved in.

    Raises:
        RunError: Another program has put something else in place of that file.
    """
    found = page_data(run, serve=True)
    number, decisions = saved.for_page()
    return page_of(run, found, {"decisions": decisions, "page": number}, str(saved.file)), found


def with_flags(run: Run | str | Path) -> Run:
    """The run, if it has flagged samples.

    Raises:
        RunError: There is nothing to decide on.
    """
    opened = Run.open(run)
    if not opened.summary.flagged:
        raise RunError(
            "nothing is flagged, so that there is nothing to decide on",
            place=str(opened.path),
            hint="scan with a budget such as `--set budget=0.05` or `--set 'budget={review: 100}'`",
        )
    return opened
