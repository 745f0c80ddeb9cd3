"""The data of the page in which people decide on the flagged samples.

In: a run. Out: plain values that the scripts in this folder show: the flagged samples, the samples beside
them, and their pictures and texts, all within a bounded number of bytes.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base import wording
from ogacli.run.beside import SAME
from ogacli.run.directory import Run
from ogacli.run.label_kind import label_kind, label_text
from ogacli.run.reports.cells import Cell, cells_at
from ogacli.run.reports.content import flagged_rows
from ogacli.run.reports.page import part
from ogacli.run.reports.pictures import Shown, look

BYTES = 20 << 20
"""A page is not larger than this."""
ROWS = 20_000
"""Flagged samples on a page, the most anomalous ones."""
TEXT = 320
"""Characters that are shown of a text."""
_ROW_BYTES = BYTES // 2
_SCRIPTS = ("data", "decisions", "filters", "matrix", "cards", "review")

Look = Callable[[int], Shown | None]
"""From a position to what is shown of the sample there; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Review:
    """The data, and what did not fit in."""

    data: Mapping[str, Any]
    rows: int
    """Flagged samples on the page."""
    flagged: int
    """All flagged samples."""
    left_out: int
    """Samples on the page that have a picture or text which did not fit."""

    @property
    def in_parts(self) -> bool:
        """Whether a text is shown in parts, by what each adds to the loss."""
        return any("parts" in look for look in self.data["looks"].values())


def script() -> str:
    """The program of the page."""
    return "".join(part(f"review/{name}.js") for name in _SCRIPTS)


def from_previews(run: Run) -> Look:
    """What ``previews.parquet`` shows of each position."""
    table = run.previews
    place = {position: i for i, position in enumerate(table["position"].to_pylist())}

    def shown(position: int) -> Shown | None:
        if (i := place.get(position)) is None:
            return None
        return look(table["kind"][i].as_py(), table["content"][i].as_py(), TEXT)

    return shown


def review(run: Run, shown: Look | None = None, *, serve: bool = False, limit: int = BYTES) -> Review:
    """The data of the page.

    Args:
        run: The run.
        shown: Shows the sample at a position; by default as ``previews.parquet`` does.
        serve: Whether the page asks a server for what is not in its data.
        limit: Bytes of the data, about.
    """
    shown = shown or from_previews(run)
    rows = flagged_rows(run, ROWS)
    data = _with_rows(run, rows)
    while len(rows) > 1 and len(embedded(data)) > _ROW_BYTES:
        rows = rows.slice(0, len(rows) // 2)
        data = _with_rows(run, rows)
    room = limit - len(embedded(data))
    data["looks"], left_out = _looks(data, _texts_of(shown) if serve else shown, room)
    data["serve"] = serve
    return Review(data, len(rows), run.summary.flagged, 0 if serve else left_out)


def embedded(data: Mapping[str, Any]) -> str:
    """The data as JSON that ends neither a script nor a comment in HTML."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _with_rows(run: Run, rows: pa.Table) -> dict[str, Any]:
    """All but the pictures and texts."""
    positions = rows["position"].to_pylist()
    beside = run.beside.filter(pc.is_in(run.beside["position"], rows["position"].combine_chunks()))
    near: dict[int, dict[str, list[int]]] = {}
    for one in beside.to_pylist():
        near.setdefault(one["position"], {}).setdefault(one["role"], []).append(one["other"])
    others = _others(run, rows, beside)
    names, kind = _Names(), label_kind(run)
    return {
        "schema_version": 1,
        "run": run.fingerprint,
        "kind": kind,
        "classes": [] if kind is None else [one.name for one in run.summary.classes],
        "reasons": [reason for reason, count in run.summary.reasons.items() if count],
        "samples": {
            "id": [str(one) for one in rows["id"].to_pylist()],
            "position": positions,
            "given": names.of(rows["label"]),
            "suggested": names.of(rows["suggested_label"]),
            "old": _texts(rows["label"]) if kind != "class" else None,
            "new": _texts(rows["suggested_label"]) if kind != "class" else None,
            "cells": _cells(run, rows["position"]) if run.summary.cells else None,
            "confidence": [None if x is None else wording.percent(x) for x in rows["confidence"].to_pylist()],
            "sure": _short(rows["confidence"].to_pylist()),
            "score": _short(rows["score"].to_pylist()),
            "score_text": [wording.decimal(x) for x in rows["score"].to_pylist()],
            "rank": rows["rank"].to_pylist(),
            "reason": rows["reason"].to_pylist(),
            "truth": names.of(rows["truth"]) if "truth" in rows.column_names else None,
            "agreement": _agreement(rows, len(run.summary.detectors)),
            "beside": [near.get(position) for position in positions],
        },
        "others": {
            "position": others["position"].to_pylist(),
            "id": [str(one) for one in others["id"].to_pylist()],
            "given": names.of(others["label"]),
            "flagged": [int(one) for one in others["flagged"].to_pylist()],
        },
        "names": list(names.place),
    }


def _texts(labels: pa.ChunkedArray) -> list[str | None]:
    """Labels as decisions have them."""
    return [label_text(one) for one in labels.to_pylist()]


def _cells(run: Run, positions: pa.ChunkedArray) -> list[list[list[str | int]]]:
    """The cells of each sample that are more probably wrong than right."""
    found = cells_at(run, positions)
    return [[_cell(one) for one in found.get(position, ())] for position in positions.to_pylist()]


def _cell(one: Cell) -> list[str | int]:
    return [one.cell, one.given, one.suggested, wording.percent(one.probability), one.reason, one.index]


def _others(run: Run, rows: pa.Table, beside: pa.Table) -> pa.Table:
    """The samples beside those of the page, and the duplicates that only ``duplicate_of`` names."""
    positions = pc.unique(beside["other"])
    if "duplicate_of" not in rows.column_names or rows["duplicate_of"].null_count == len(rows):
        if not len(beside):
            return rows.slice(0, 0)
        return run.rows(lambda some: pc.is_in(some["position"], positions), ["position"], len(beside))
    ids = pc.unique(rows["duplicate_of"].drop_null())

    def wanted(some: pa.Table) -> pa.ChunkedArray:
        return pc.or_(pc.is_in(some["position"], positions), pc.is_in(some["id"], ids))

    return run.rows(wanted, ["position", "id"], len(beside) + len(rows))


class _Names:
    """Labels, each written once."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}

    def of(self, column: pa.ChunkedArray) -> list[int | None]:
        """Where each label of a column stands among the names."""
        return [
            None if value is None else self.place.setdefault(wording.label(value), len(self.place))
            for value in column.to_pylist()
        ]


def _short(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.6g}") for value in values]


def _agreement(rows: pa.Table, detectors: int) -> list[str] | None:
    if "agreement" not in rows.column_names:
        return None
    return [f"{round(share * detectors)} of {detectors}" for share in rows["agreement"].to_pylist()]


def _looks(data: Mapping[str, Any], shown: Look, room: int) -> tuple[dict[str, Any], int]:
    """Pictures and texts, of all samples by rank, then of those beside them; and how many are missing."""
    looks: dict[str, Any] = {}
    left_out, full = 0, False
    samples = data["samples"]
    beside = [one for roles in samples["beside"] for one in _each(roles)]
    own = len(samples["position"])
    for number, position in enumerate(dict.fromkeys([*samples["position"], *beside])):
        if full:
            left_out += number < own
            continue
        plain = plain_look(shown(position))
        if plain is None:
            left_out += number < own
            continue
        room -= len(embedded(plain)) + 24
        full = room < 0
        if not full:
            looks[str(position)] = plain
        left_out += full and number < own
    return looks, left_out


def _texts_of(shown: Look) -> Look:
    """Texts alone, which the page can be searched for."""

    def text(position: int) -> Shown | None:
        found = shown(position)
        return None if found is None or found.picture is not None else found

    return text


def _each(roles: Mapping[str, list[int]] | None) -> list[int]:
    return [] if roles is None else [one for role in sorted(roles, key=(SAME).__eq__) for one in roles[role]]


def plain_look(shown: Shown | None) -> dict[str, Any] | None:
    """A picture or text as plain values; None where there is neither."""
    if shown is None:
        return None
    if shown.picture is not None:
        return {"picture": shown.picture} | ({"pixelated": True} if shown.pixelated else {})
    if shown.parts:
        return {"parts": [[one.text, wording.percent(one.share), one.level] for one in shown.parts]}
    return None if shown.text is None else {"text": shown.text}
