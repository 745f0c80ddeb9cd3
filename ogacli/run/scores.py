"""A verdict -> ``scores.parquet``: the columns, a row a sample in the order of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ogacli.verdict.reasons import REASONS

if TYPE_CHECKING:  # reading a run needs no torch
    from torch import Tensor

    from ogacli.data import Samples
    from ogacli.verdict.judge import Verdict

OK, QUARANTINED = "ok", "quarantined"
"""The values of the column ``status``."""
SCORE_COLUMNS = (
    "id",
    "position",
    "label",
    "score",
    "rank",
    "flagged",
    "reason",
    "suggested_label",
    "confidence",
    "status",
)
"""The columns that every run has."""


def scores_table(verdict: Verdict, samples: Samples) -> pa.Table:
    """``scores.parquet``: a row a sample, in the order of the samples."""
    findings = verdict.findings
    none = np.zeros(len(samples), dtype=bool)
    none[list(findings.quarantined)] = True
    differs = (verdict.suggested_label >= 0).numpy()
    columns: dict[str, pa.Array] = {
        "id": samples.ids,
        "position": pa.array(samples.positions.numpy()),
        "label": samples.label_type.column(samples.labels, samples.classes),
        "score": pa.array(verdict.score.numpy(), mask=none),
        "rank": pa.array(verdict.rank.numpy(), mask=none),
        "flagged": pa.array(verdict.flagged.numpy()),
        "reason": _reasons(verdict),
        "suggested_label": _names(samples, verdict.suggested_label),
        "confidence": pa.array(findings.most_probable.confidence.numpy(), mask=~differs),
        "status": pa.array([OK, QUARANTINED]).take(pa.array(none.astype("int8"))),
    }
    for name, score in list(findings.scores.items())[1:]:
        columns[f"score_{name}"] = pa.array(score.numpy(), mask=none)
    if samples.truth is not None:
        columns["truth"] = samples.label_type.column(samples.truth, samples.classes)
        if samples.class_index is None and (wrong := samples.wrong) is not None:
            columns["wrong"] = pa.array(wrong.numpy())  # which the two columns do not always show
    columns["probability"] = pa.array(
        findings.probability.numpy(), mask=none | findings.probability.isnan().numpy()
    )
    right = findings.given_label_probability.numpy()
    columns["given_label_probability"] = pa.array(right, mask=none | np.isnan(right))
    if findings.duplicate_of is None:
        columns["duplicate_of"] = pa.nulls(len(samples), pa.string())
    else:
        twin = findings.duplicate_of.numpy()
        columns["duplicate_of"] = samples.ids.take(pa.array(twin, mask=twin < 0))
    columns["fingerprint"] = _fingerprints(samples, findings.content)
    if len(findings.scores) > 1:
        columns["agreement"] = pa.array(verdict.agreement.numpy(), mask=none)
    return pa.table(columns)


def _fingerprints(samples: Samples, content: Tensor | None) -> pa.Array:
    """16 hex digits that change when the inputs or the label of a sample do; null where it was not read.

    They are texts, as programs that take numbers for float64 would round such large ones.
    """
    n = len(samples)
    if content is None:
        return pa.nulls(n, pa.string())
    from ogacli.data.fingerprints import label_fingerprints

    found = (content + label_fingerprints(samples.labels, samples.classes)).numpy()
    ends = pa.py_buffer(np.arange(0, 16 * n + 1, 16, dtype=np.int64))
    texts = pa.py_buffer(found.astype(">i8").tobytes().hex().encode())
    digits = pa.LargeStringArray.from_buffers(n, ends, texts).cast(pa.string())
    return pa.compute.if_else(pa.array((content != 0).numpy()), digits, None)


def _names(samples: Samples, labels: Tensor) -> pa.Array:
    """Class names, null for -1; an output of the model that is no class of the data has a number."""
    k, highest = len(samples.classes), int(labels.max()) if len(labels) else -1
    names = (*samples.classes, *(f"output {i}" for i in range(k, highest + 1)))
    return pa.array(names, pa.string()).take(pa.array(labels.numpy(), mask=(labels < 0).numpy()))


def _reasons(verdict: Verdict) -> pa.Array:
    """Why a sample is flagged, or quarantined; null elsewhere."""
    index = verdict.reason
    column = pa.array(REASONS).take(pa.array(index.numpy(), mask=~verdict.flagged.numpy()))
    quarantined = verdict.findings.quarantined
    if not quarantined:
        return column
    rows = np.zeros(len(index), dtype=bool)
    rows[list(quarantined)] = True
    reasons = pa.array([quarantined[row] for row in sorted(quarantined)])
    return pa.compute.replace_with_mask(column, pa.array(rows), reasons)
