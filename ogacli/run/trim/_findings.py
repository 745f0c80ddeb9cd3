"""What a run found, sample by sample, for the tools of others.

In: a job. Out: a ``Finding`` for each sample, or for those that somebody should look at; and the columns or
the file of a sample, to be shown there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ogacli.data.originals.image_folder import ImageFolder, sample_names
from ogacli.errors import RunError
from ogacli.run.label_kind import LabelKind, label_kind, label_text, label_values, pixels_or_boxes
from ogacli.run.trim._rows import has_columns, plain, source_batches
from ogacli.run.trim.fates import DROPPED, FATES, QUARANTINED, RELABELLED
from ogacli.run.trim.job import Job

_NAMES = {
    "class": "one class a sample",
    "classes": "several classes a sample",
    "tags": "a tag for each word",
    "numbers": "numbers",
}
_READ = ("id", "position", "label", "score", "rank", "reason", "suggested_label", "confidence")
AGENT = "oga"
"""Who suggests, in the tools of others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sample."""

    id: str
    position: int
    label: Any
    """The given class, number, or a list of either."""
    issue: bool
    """Whether it is flagged, unless a person decided to keep it."""
    fate: str
    suggested: Any
    """The new label: that of a decision, or the one that the scan suggests; None without one."""
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


_INSTEAD = {
    "boxes": "write the pictures that stay, which such tools import: --format coco, or yolo; "
    "issues.parquet of the run has each suggested box",
    "masks": "load pictures and masks there as they are, and the fate of each: --manifest FILE; "
    "issues.parquet of the run has each suggested region",
}
"""What to do with labels that a format does not hold."""


def check_kind(job: Job, format: str, *kinds: LabelKind) -> None:
    """Check that the labels are of a kind that a format holds.

    Raises:
        RunError: They are not.
    """
    kind = label_kind(job.run)
    if kind in kinds:
        return
    found = kind or pixels_or_boxes(job.run) or "prompts, or labels without names"
    raise RunError(
        "labels of this kind are not written in this format",
        place=f"--format {format}",
        found=_NAMES.get(found, found),
        expected=" or ".join(_NAMES[one] for one in kinds),
        hint=_INSTEAD.get(
            found, "write the fate of every sample: --manifest FILE; or --format cleanlab, a table"
        ),
    )


def findings(job: Job) -> Iterator[Finding]:
    """Every sample, in the order of the run."""
    fates, start, kind = job.fates, 0, label_kind(job.run)
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
                label=label_values(values["label"], kind),
                issue=flagged or fate in (DROPPED, RELABELLED),
                fate=fate,
                suggested=label_values(values["suggested_label"] if new is None else new, kind),
                confidence=None
                if new not in (None, label_text(values["suggested_label"]))
                else values["confidence"],
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


def image_paths(job: Job) -> Callable[[int], Path | None]:
    """The path of the image file at a position; None where there is none on this machine.

    Raises:
        OgaError: The source cannot be opened.
    """
    if isinstance(job.original, ImageFolder):
        tree = job.original.tree()
        names = sample_names(tree.listing())
        return lambda position: tree.path(names[position])
    reader = job.samples().reader

    def path(position: int) -> Path | None:
        found = reader.file(position)
        return found if isinstance(found, Path) else None

    return path


class Words:
    """The words of tagged sentences as one text, in which each tagged part has a place.

    Raises:
        RunError: The words are in no column of the source.
    """

    def __init__(self, job: Job) -> None:
        section = job.run.config.get("data")
        column = section.get("words") if isinstance(section, dict) else None
        if not isinstance(column, str) or not has_columns(job):
            raise RunError(
                "the words are in no column",
                place="data.words",
                hint="write the fate of every sample: --manifest FILE",
            )
        self.column = column

    def text(self, content: Mapping[str, Any]) -> str:
        """The words with a space between two of them."""
        return " ".join(content[self.column])

    def parts(self, content: Mapping[str, Any], tags: Sequence[str]) -> list[tuple[int, int, str]]:
        """Start, end and kind of each entity, in characters; without entities those of words but ``O``."""
        from ogacli.data.labels.spans import Span, spans

        starts = np.cumsum([0, *(len(word) + 1 for word in content[self.column])]).tolist()
        entities = list(spans(tags))
        if not entities:
            entities = [Span(i, i + 1, tag) for i, tag in enumerate(tags) if tag != "O"]
        return [(starts[one.start], starts[one.stop] - 1, one.kind) for one in entities]
