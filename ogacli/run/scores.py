"""A verdict -> ``scores.parquet``: the columns, a row a sample in the order of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ogacli.base.arrow import numbers, texts
from ogacli.base.blocks import blocks
from ogacli.base.wording import cut
from ogacli.errors import RunError
from ogacli.verdict.reasons import PICTURES, REASONS
from ogacli.verdict.regions import RegionFindings

if TYPE_CHECKING:  # reading a run needs no torch
    from torch import Tensor

    from ogacli.data import Samples
    from ogacli.verdict.judge import Verdict

_ROWS = 1 << 16
"""Rows of a part of the table."""
OK, QUARANTINED = "ok", "quarantined"
"""The values of the column ``status``."""
NEAR = "near_duplicate_of"
"""A column of runs that look for near-duplicates: null for the one of a group that is kept."""
LEAKS = "leaks"
"""A column of runs with a section `against`: the id that the sample has there, or null."""
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
PREVIEW_COLUMNS = ("position", "kind", "content")
_FILLED = ("id", "position", "flagged", "status", "kind", "content", "cell")
"""Columns with a value in each row."""
_Is = Callable[[pa.DataType], bool]


def _any(*tests: _Is) -> _Is:
    return lambda kind: any(test(kind) for test in tests)


_is_text = _any(pa.types.is_string, pa.types.is_large_string)
_is_float = _any(pa.types.is_float32, pa.types.is_float64)
_is_number = _any(_is_float, pa.types.is_integer)
_TEXT, _INTEGER, _NUMBER, _TRUTH = (
    ("texts", _is_text),
    ("whole numbers", pa.types.is_integer),
    ("numbers", _is_float),
    ("true or false", pa.types.is_boolean),
)
_LABEL = (
    "texts, numbers, or lists of them",
    lambda kind: _any(_is_text, _is_number)(kind.value_type if pa.types.is_list(kind) else kind),
)
_KINDS: Mapping[str, tuple[str, _Is]] = {
    **dict.fromkeys(("id", "reason", "status", "duplicate_of", "fingerprint", "kind", "role", "cell"), _TEXT),
    **dict.fromkeys(("picture", NEAR, LEAKS), _TEXT),
    **dict.fromkeys(("position", "rank", "order", "other", "index"), _INTEGER),
    **dict.fromkeys(
        ("score", "confidence", "probability", "given_label_probability", "agreement", "x", "y"), _NUMBER
    ),
    **dict.fromkeys(("low", "high", "far"), _NUMBER),
    **dict.fromkeys(("flagged", "wrong"), _TRUTH),
    **dict.fromkeys(("label", "truth", "suggested_label", "given", "suggested", "box"), _LABEL),
    "content": ("bytes", _any(pa.types.is_binary, pa.types.is_large_binary)),
}
"""What the columns of ``scores.parquet`` and ``previews.parquet`` hold."""


def check_types(schema: pa.Schema, needed: Sequence[str], place: str) -> None:
    """Check the columns of a file of a run, which may come from anybody.

    Raises:
        RunError: A needed column is missing, or one holds something else.
    """
    if missing := [name for name in needed if name not in schema.names]:
        found = cut(", ".join(schema.names), _SHOWN)
        raise RunError(f"no column {', '.join(missing)}", place=place, found=found, hint=_AGAIN)
    for field in schema:
        expected, fits = _KINDS.get(field.name, _NUMBER if field.name.startswith("score_") else _ANY)
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not fits(kind) or schema.names.count(field.name) > 1:
            raise RunError(
                f"column {field.name!r} is not as oga writes it",
                place=place,
                found=str(field.type),
                expected=expected,
                hint=_AGAIN,
            )


_ANY = ("anything", lambda kind: True)
_AGAIN = "scan again with this version of oga"
_SHOWN = 200


def check_filled(part: pa.Table | pa.RecordBatch, place: str) -> None:
    """Check that no value is missing where each row has one, that texts are texts, and numbers finite.

    Raises:
        RunError: It is otherwise.
    """
    try:
        part.validate(full=True)
    except pa.ArrowInvalid as error:
        raise RunError("does not parse", place=place, found=str(error).partition("\n")[0]) from None
    for name in _FILLED:
        if name in part.schema.names and part.column(name).null_count:
            raise RunError(f"a row without a value in column {name!r}", place=place, hint=_AGAIN)
    for field in part.schema:
        if pa.types.is_floating(field.type):
            finite = pa.compute.is_finite(part.column(field.name))
            if not pa.compute.all(finite, min_count=0).as_py():
                raise RunError(f"no finite number in column {field.name!r}", place=place, hint=_AGAIN)
    if {"flagged", "rank"} <= set(part.schema.names):
        unranked = pa.compute.is_null(part.column("rank"))
        if pa.compute.any(pa.compute.and_(part.column("flagged"), unranked)).as_py():
            raise RunError("a flagged row without a rank", place=place, hint=_AGAIN)


def scores_table(verdict: Verdict, samples: Samples) -> pa.Table:
    """``scores.parquet``: a row a sample, in the order of the samples."""
    return pa.concat_tables(list(score_tables(verdict, samples)))


def score_tables(verdict: Verdict, samples: Samples) -> Iterator[pa.Table]:
    """The same, some rows at a time."""
    for rows in blocks(len(samples), _ROWS):
        yield _table(verdict, samples, rows)
        pa.default_memory_pool().release_unused()


def _table(verdict: Verdict, samples: Samples, rows: slice) -> pa.Table:
    from ogacli.data.ids import arrow_ids

    findings = verdict.findings.part(rows)
    none = np.zeros(rows.stop - rows.start, dtype=bool)
    none[list(findings.quarantined)] = True
    suggests = verdict.suggests(rows).numpy()
    columns: dict[str, pa.Array] = {
        "id": arrow_ids(samples.ids.slice(rows.start, len(none))),
        "position": numbers(samples.positions[rows].numpy()),
        "label": samples.label_type.column(samples.labels[rows], samples.classes),
        "score": numbers(verdict.score[rows].numpy(), none),
        "rank": numbers(verdict.rank[rows].numpy(), none),
        "flagged": numbers(verdict.flagged[rows].numpy()),
        "reason": _reasons(verdict, rows, findings.quarantined),
        "suggested_label": _suggested(verdict, samples, rows),
        "confidence": numbers(verdict.confidence(rows).numpy(), ~suggests),
        "status": texts([OK, QUARANTINED]).take(numbers(none.astype("int8"))),
    }
    for name, score in list(findings.scores.items())[1:]:
        columns[f"score_{name}"] = numbers(score.numpy(), none)
    if samples.truth is not None:
        columns["truth"] = samples.label_type.column(samples.truth[rows], samples.classes)
        if samples.class_index is None and (wrong := samples.wrong) is not None:
            columns["wrong"] = numbers(wrong[rows].numpy())  # which the two columns do not always show
    unknown = none | findings.probability.isnan().numpy()
    columns["probability"] = numbers(findings.probability.numpy(), unknown)
    right = findings.given_label_probability.numpy()
    columns["given_label_probability"] = numbers(right, none | np.isnan(right))
    if findings.duplicate_of is None:
        columns["duplicate_of"] = pa.nulls(len(none), pa.string())
    else:
        twin = findings.duplicate_of.numpy()
        columns["duplicate_of"] = samples.ids.take(numbers(twin, twin < 0))
    if findings.near_duplicate_of is not None:
        kept = findings.near_duplicate_of.numpy()
        columns[NEAR] = samples.ids.take(numbers(kept, kept < 0))
    if findings.leaks is not None:
        there = findings.leaks.rows.numpy()
        columns[LEAKS] = findings.leaks.ids.take(numbers(there, there < 0))
    if findings.far is not None:
        columns["far"] = numbers(findings.far.numpy(), findings.far.isnan().numpy())
    if findings.picture is not None:
        picture = findings.picture.numpy()
        columns["picture"] = texts(PICTURES).take(numbers(picture, picture == 0))
    columns["fingerprint"] = _fingerprints(samples, rows, findings.content)
    if len(findings.scores) > 1:
        columns["agreement"] = numbers(verdict.votes[rows].numpy() / len(findings.scores), none)
    return pa.table(columns)


def _fingerprints(samples: Samples, rows: slice, content: Tensor | None) -> pa.Array:
    """16 hex digits that change when the inputs or the label of a sample do; null where it was not read.

    They are texts, as programs that take numbers for float64 would round such large ones.
    """
    n = rows.stop - rows.start
    if content is None:
        return pa.nulls(n, pa.string())
    from ogacli.data.fingerprints import label_fingerprints

    found = (content + label_fingerprints(samples.labels[rows], samples.classes)).numpy()
    ends = pa.py_buffer(np.arange(0, 16 * n + 1, 16, dtype=np.int64))
    written = pa.py_buffer(found.astype(">i8").tobytes().hex().encode())
    digits = pa.LargeStringArray.from_buffers(n, ends, written).cast(pa.string())
    return pa.compute.if_else(numbers((content != 0).numpy()), digits, None)


def _suggested(verdict: Verdict, samples: Samples, rows: slice) -> pa.Array:
    """The suggested label as the given one is shown; null where none is suggested."""
    if verdict.findings.cells is None:
        return _names(samples, verdict.suggested_label[rows])
    if isinstance(verdict.findings.cells, RegionFindings):
        return pa.nulls(rows.stop - rows.start, pa.list_(pa.string()))  # a mask is no list of classes
    labels = verdict.findings.cells.part(rows).corrected(samples.labels[rows])
    corrected = samples.label_type.column(labels, samples.classes)
    suggests = numbers(verdict.suggests(rows).numpy())
    return pa.compute.if_else(suggests, corrected, pa.scalar(None, corrected.type))


def _names(samples: Samples, labels: Tensor) -> pa.Array:
    """Class names, null for -1; an output of the model that is no class of the data has a number."""
    k, highest = len(samples.classes), int(labels.max()) if len(labels) else -1
    names = (*samples.classes, *(f"output {i}" for i in range(k, highest + 1)))
    return texts(names).take(numbers(labels.numpy(), (labels < 0).numpy()))


def _reasons(verdict: Verdict, rows: slice, quarantined: Mapping[int, str]) -> pa.Array:
    """Why a sample is flagged, or quarantined; null elsewhere."""
    index = verdict.reason(rows)
    column = texts(REASONS).take(numbers(index.numpy(), ~verdict.flagged[rows].numpy()))
    if not quarantined:
        return column
    lost = np.zeros(len(index), dtype=bool)
    lost[list(quarantined)] = True
    reasons = texts([quarantined[row] for row in sorted(quarantined)])
    return pa.compute.replace_with_mask(column, numbers(lost), reasons)
