"""The doubtful words of taggers: rows of ``issues.parquet``, and counts by tag and by kind of entity.

In: the doubtful cells of a verdict and its samples, whose labels are a tag a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # reading a run needs no torch
    from jaxtyping import Bool, Int64
    from torch import Tensor

    from ogacli.data import Samples
    from ogacli.verdict.cells import CellFindings

WRONG_TAG, STRAY = "wrong tag", "stray inside tag"
"""What is wrong with the tag of a word."""
MEANINGS = {
    WRONG_TAG: "another tag of the word is far more probable",
    STRAY: "the tag goes on with an entity that no word before it begins",
}


class EntitySummary(BaseModel):
    """A kind of entity, such as ``PER``."""

    model_config = ConfigDict(frozen=True)

    name: str
    entities: int
    """How many the tags have."""
    doubted: int
    """How many of them are not the same any more once suggested tags are in the place of doubtful ones."""
    missing: int
    """How many there would be then that the tags do not have."""


def has_words(samples: Samples) -> bool:
    """Whether the label of a sample is a tag a word."""
    from ogacli.data.labels.label_types import WordClasses

    return isinstance(samples.label_type, WordClasses)


def word_columns(
    samples: Samples,
    row: Int64[np.ndarray, " m"],
    index: Int64[np.ndarray, " m"],
    suggested: Int64[np.ndarray, " m"],
) -> dict[str, Any]:
    """The columns of ``issues.parquet`` that differ from those of other cells.

    Args:
        samples: The dataset.
        row: Of the sample of each issue.
        index: Of its word.
        suggested: The class index of its suggested tag.
    """
    words: dict[int, Any] = {
        one: samples.reader.words(int(samples.positions[one])) for one in np.unique(row).tolist()
    }
    places = list(zip(row.tolist(), index.tolist(), strict=True))
    names = pa.array(samples.classes, pa.string())
    stray = _strays(samples, row, index)
    return {
        "cell": [words[one][i] if i < len(words[one]) else f"word {i}" for one, i in places],
        "given": names.take(pa.array(samples.labels.numpy()[row, index].astype(np.int64))),
        "suggested": names.take(pa.array(suggested)),
        "reason": [STRAY if one else WRONG_TAG for one in stray],
    }


def _strays(samples: Samples, row: np.ndarray, index: np.ndarray) -> Bool[np.ndarray, " m"]:
    from ogacli.data.labels.spans import scheme, strays

    allowed = scheme(samples.labels, samples.classes)
    if allowed is None:
        return np.zeros(len(row), dtype=bool)
    rows, place = np.unique(row, return_inverse=True)
    found: np.ndarray = strays(samples.labels[rows], allowed).numpy()[place, index]
    return found


def entity_summaries(cells: CellFindings, samples: Samples) -> tuple[EntitySummary, ...]:
    """Each kind of entity; none where tags are not those of entities, such as ``B-PER``."""
    from ogacli.data.labels.spans import starts

    counts = Counter(dict(starts(samples.labels, samples.classes)))
    doubted, missing = Counter[str](), Counter[str]()
    if not counts:
        return ()
    rows = cells.doubted.any(1).nonzero()[:, 0]
    labels = samples.labels[rows]
    corrected = cells.at(rows).corrected(labels)
    for given, suggested in zip(_spans(labels, samples), _spans(corrected, samples), strict=True):
        doubted.update(span.kind for span in given - suggested)
        missing.update(span.kind for span in suggested - given)
    return tuple(
        EntitySummary(name=name, entities=count, doubted=doubted[name], missing=missing[name])
        for name, count in sorted(counts.items())
    )


def _spans(labels: Tensor, samples: Samples) -> Iterator[set[Any]]:
    from ogacli.data.labels.spans import spans

    for tags in samples.label_type.column(labels, samples.classes).to_pylist():
        yield set(spans(tags))
