"""``previews.parquet``: pictures or texts of samples, in a bounded number of bytes.

In: a verdict and the readers of its samples. Out: previews of the most anomalous samples, then of the samples
beside the first of them, then of further flagged ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base.arrow import contents, numbers, texts
from ogacli.base.blocks import blocks

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Preview, Samples
    from ogacli.verdict.judge import Verdict

FIRST = 100
"""So many samples are shown as the task shows them, which may need the model."""
_FLAGGED, _COMPARED = 1000, 100
"""Flagged samples with a preview, and how many of them have previews of the samples beside them."""
_BYTES = 12 << 20
SCHEMA = pa.schema([("position", pa.int64()), ("kind", pa.string()), ("content", pa.binary())])


def previews_of(
    verdict: Verdict,
    samples: Samples,
    beside: pa.Table,
    preview: Callable[[int], Preview] | None = None,
) -> pa.Table:
    """The previews; samples that cannot be read are left out.

    Args:
        verdict: The ranks and flags.
        samples: The dataset.
        beside: The samples beside the most anomalous ones.
        preview: Shows the first rows; as the reader shows all others by default.
    """
    from ogacli.data import Unreadable

    positions = samples.positions
    found: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    room = _BYTES
    for row, is_first in _rows(verdict, samples, beside):
        position = int(positions[row])
        try:
            shown = preview(row) if preview and is_first else samples.reader.preview(position)
        except Unreadable:
            continue
        room -= len(shown.content)
        if room < 0:
            break
        for name, value in zip(SCHEMA.names, (position, shown.kind, shown.content), strict=True):
            found[name].append(value)
    return pa.table(
        {
            "position": numbers(np.array(found["position"], dtype=np.int64)),
            "kind": texts(found["kind"]),
            "content": contents(found["content"]),
        },
    )


def _rows(verdict: Verdict, samples: Samples, beside: pa.Table) -> Iterator[tuple[int, bool]]:
    """Each row once, the most important first, and whether it is one of the ``FIRST``."""
    flagged = verdict.first(_FLAGGED, flagged=True).tolist()
    first = list(dict.fromkeys([*flagged[:FIRST], *verdict.first(FIRST).tolist()]))[:FIRST]
    compared = numbers(samples.positions[flagged[:_COMPARED]].numpy())
    others = _rows_at(beside.filter(pc.is_in(beside["position"], compared))["other"], samples)
    yield from ((row, True) for row in first)
    seen = set(first)
    for row in (*others, *flagged):
        if row not in seen:
            seen.add(row)
            yield row, False


def _rows_at(positions: pa.ChunkedArray, samples: Samples) -> list[int]:
    """The rows of these positions; a dictionary of all samples would need much memory."""
    import torch

    wanted = torch.tensor(positions.to_pylist(), dtype=torch.int64)
    rows: list[int] = []
    for block in blocks(len(samples)) if len(wanted) else ():
        here = torch.isin(samples.positions[block], wanted).nonzero()[:, 0]
        rows += (block.start + here).tolist()
    return rows
