"""Labels by several annotators: how good each is, and which samples to ask about again.

In: a verdict and its samples. Out: a row an annotator for the summary, and ``ask_again.parquet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.verdict.judge import Verdict

FILE = "ask_again.parquet"
ASK_AGAIN = pa.schema(
    [
        ("id", pa.string()),
        ("position", pa.int64()),
        ("annotations", pa.int64()),
        ("label", pa.string()),
        ("probability", pa.float64()),
    ]
)
"""``label`` is the most probable class, ``probability`` its own."""
_SURE = 0.95
"""Samples whose class is less probable are asked about again; at most ``_MOST``."""
_MOST = 10_000


class AnnotatorSummary(BaseModel):
    """One annotator."""

    model_config = ConfigDict(frozen=True)

    name: str
    labels: int
    """How many samples with a score the annotator labelled."""
    quality: float | None
    """The expected share of these labels that is right; None without labels."""


def annotator_summaries(verdict: Verdict, samples: Samples) -> tuple[AnnotatorSummary, ...]:
    """Each annotator, the worst first; none where samples have a single label each."""
    given = samples.annotations
    if given is None:
        return ()
    best = verdict.findings.most_probable
    others = (1 - best.confidence) / max(1, len(samples.classes) - 1)
    counts, right = np.zeros(len(given.names)), np.zeros(len(given.names))
    for who, what in zip(given.annotator.t(), given.labels.t(), strict=True):
        known = (who >= 0) & verdict.findings.scored
        share = best.confidence.where(what == best.classes, others)[known].double().numpy()
        counts += np.bincount(who[known].numpy(), minlength=len(given.names))
        right += np.bincount(who[known].numpy(), share, minlength=len(given.names))
    found = [
        AnnotatorSummary(
            name=name, labels=int(counts[i]), quality=right[i] / counts[i] if counts[i] else None
        )
        for i, name in enumerate(given.names)
    ]
    return tuple(sorted(found, key=lambda one: (one.quality is None, one.quality)))


def ask_again(verdict: Verdict, samples: Samples) -> pa.Table:
    """The samples whose class is least certain by annotators and model together, the least certain first.

    Empty where samples have a single label each.
    """
    given = samples.annotations
    if given is None:
        return ASK_AGAIN.empty_table()
    best = verdict.findings.most_probable
    sure = best.confidence.double().numpy()
    rows = np.flatnonzero((sure < _SURE) & verdict.findings.scored.numpy())
    rows = rows[np.argsort(sure[rows], kind="stable")][:_MOST]
    names = pa.array(samples.classes, pa.string())
    return pa.table(
        {
            "id": samples.ids.take(pa.array(rows)),
            "position": samples.positions.numpy()[rows],
            "annotations": given.counts.numpy()[rows],
            "label": names.take(pa.array(best.classes.numpy()[rows])),
            "probability": sure[rows],
        },
        schema=ASK_AGAIN,
    )
