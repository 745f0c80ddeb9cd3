"""What a run found, sample by sample, for the tools of others.

In: a job. Out: a ``Finding`` for each sample, or for those that somebody should look at; and the columns or
the file of a sample, to be shown there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ogacli.data.originals.image_folder import ImageFolder, sample_names
from ogacli.errors import RunError
from ogacli.run.trim._rows import has_columns, plain, source_batches
from ogacli.run.trim.fates import DROPPED, FATES, QUARANTINED, RELABELLED, has_one_class
from ogacli.run.trim.job import Job

_READ = ("id", "position", "label", "score", "rank", "reason", "suggested_label", "confidence")
AGENT = "oga"
"""Who suggests, in the tools of others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sample."""

    id: str
    position: int
    label: Any
    """The given class, or a list of them."""
    issue: bool
    """Whether it is flagged, unless a person decided to keep it."""
    fate: str
    suggested: Any
    """The new label: that of a decision, as a text, or the one that the scan suggests; None without one."""
    confidence: float | None
    """The probability of the suggested label."""
    quality: float | None
    """The probability that the given label is right: low is bad."""
    rank: int | None
    score: float | None
    reason: str | None

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known beside the labels; values that are not known are left out."""
        found = {
            "rank": self.rank,
            "score": self.score,
            "reason": self.reason,
            "fate": self.fate,
            "label_quality": self.quality,
        }
        return {name: value for name, value in found.items() if value is not None}


def check_classes(job: Job, format: str) -> None:
    """Check that each sample has one class.

    Raises:
        RunError: It has not.
    """
    if not has_one_class(job.run):
        raise RunError(
            "the samples do not have one class each",
            place=f"--format {format}",
            hint="write the fate of every sample: --manifest FILE",
        )


def findings(job: Job) -> Iterator[Finding]:
    """Every sample, in the order of the run."""
    fates, start = job.fates, 0
    kept = set(fates.decided.tolist())
    read = [name for name in (*_READ, "given_label_probability") if name in job.run.schema.names]
    for batch in job.run.batches(read):
        for row, values in enumerate(batch.to_pylist(), start):
            fate = FATES[fates.fate[row]]
            flagged = bool(fates.flagged[row]) and row not in kept and fate != QUARANTINED
            new = fates.new_label.get(row)
            yield Finding(
                id=values["id"],
                position=values["position"],
                label=values["label"],
                issue=flagged or fate in (DROPPED, RELABELLED),
                fate=fate,
                suggested=values["suggested_label"] if new is None else new,
                confidence=values["confidence"] if new in (None, values["suggested_label"]) else None,
                quality=values.get("given_label_probability"),
                rank=values["rank"],
                score=values["score"],
                reason=values["reason"],
            )
        start += len(batch)


def issues(job: Job) -> list[Finding]:
    """The samples that somebody should look at, the most anomalous first."""
    found = [one for one in findings(job) if one.issue]
    return sorted(found, key=lambda one: one.rank or 0)


def contents(job: Job, wanted: list[Finding]) -> Mapping[int, dict[str, Any]]:
    """What can be shown of some samples, by position.

    Returns:
        The columns of rows; ``image`` with the path of an image file; nothing for samples of other sources.

    Raises:
        DataError: The source cannot be read.
    """
    positions = np.sort(np.array([one.position for one in wanted], dtype=np.int64))
    if isinstance(job.original, ImageFolder):
        tree = job.original.tree()
        names = sample_names(tree.listing())
        paths = {one: tree.path(names[one]) for one in positions.tolist()}
        return {one: {"image": str(path or names[one])} for one, path in paths.items()}
    if not has_columns(job):
        return {}
    found: dict[int, dict[str, Any]] = {}
    start = 0
    for batch in source_batches(job):
        low, high = np.searchsorted(positions, [start, start + len(batch)]).tolist()
        rows = positions[low:high]
        part = batch.take((rows - start).tolist()) if len(rows) else batch.slice(0, 0)
        found |= dict(zip(rows.tolist(), map(plain, part.to_pylist()), strict=True))
        start += len(batch)
    return found


def local_path(job: Job, content: dict[str, Any]) -> Path | None:
    """The path of an image file on this machine; None where there is none."""
    image = content.get("image")
    if not isinstance(job.original, ImageFolder) or not isinstance(image, str):
        return None
    return Path(image) if Path(image).is_file() else None
