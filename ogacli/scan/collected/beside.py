"""What a person sees beside a flagged sample, and the map of the gradients.

In: what was kept of the samples with the highest scores and of some others. Out: two small tables: for each
of these samples its nearest samples of the given and of the suggested class, those with the same inputs, and
its near-duplicates; and two coordinates of the gradient of some 2,500 samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.arrow import empty, numbers, texts
from ogacli.data import Samples
from ogacli.data.duplicates import Digests
from ogacli.models.neighbours.exact import units
from ogacli.run.beside import BESIDE, GIVEN, MAP, NEAR, NEAREST, SAME, SUGGESTED, Role
from ogacli.scan.collected.top import Kept, TopSamples
from ogacli.verdict.judge import Verdict

_EACH = 4
"""Nearest samples of each class."""
_MAPPED = 1500
"""Samples on the map beside those with the highest scores."""
_QUERIES = 256
"""Samples whose distances are in memory at a time."""
_ITERATIONS = 12

Read = Callable[[Sequence[int]], Digests]
"""From rows to the readable ones of them and the digests of their inputs and labels."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Tables by row of the samples."""

    beside: pa.Table
    """Columns ``position, role, order, other``; positions are rows of the source."""
    gradient_map: pa.Table
    """Columns ``position, x, y``."""


def beside(
    kept: TopSamples, verdict: Verdict, samples: Samples, fingerprints: Int64[Tensor, " n"], read: Read
) -> Beside:
    """Both tables.

    Args:
        kept: What the passes kept.
        verdict: The suggested labels.
        samples: The dataset.
        fingerprints: Hashes of the inputs; 0 where they are not known.
        read: Tells whether inputs with equal hashes are equal.
    """
    top, others = kept.top.known(), kept.others.known()
    rows: list[tuple[int, Role, int, int]] = [*_nearest(top, others, verdict, samples)]
    rows += _same_inputs(top.rows.tolist(), fingerprints, read)
    if (stays := verdict.findings.near_duplicate_of) is not None:
        rows += _near_duplicates(top.rows.tolist(), stays)
    row, role, order, other = list(zip(*sorted(rows), strict=True)) or [(), (), (), ()]
    columns = {
        "position": _positions(samples, torch.tensor(row, dtype=torch.int64)),
        "role": texts(role),
        "order": numbers(np.array(order, dtype=np.int64)),
        "other": _positions(samples, torch.tensor(other, dtype=torch.int64)),
    }
    return Beside(pa.table(columns, schema=BESIDE), _map(top, others, samples))


def _positions(samples: Samples, rows: Int64[Tensor, " m"]) -> pa.Array:
    return numbers(samples.positions[rows].numpy())


def _nearest(
    top: Kept, others: Kept, verdict: Verdict, samples: Samples
) -> Iterator[tuple[int, Role, int, int]]:
    """The nearest unflagged samples of the given and the suggested class; without classes, of all."""
    if not len(top.rows) or not len(others.rows):
        return
    mean, unit = others.features.mean(0), units(others.features)
    bank, queries = (others.features - mean) / unit, (top.features - mean) / unit
    labels = samples.class_index
    for start in range(0, len(queries), _QUERIES):
        some = slice(start, start + _QUERIES)
        rows = top.rows[some]
        distance = torch.cdist(queries[some], bank)
        distance[rows[:, None] == others.rows] = torch.inf
        distance[top.checkpoint[some, None] != others.checkpoint] = torch.inf
        if labels is None:
            yield from _lowest(rows, distance, others.rows, NEAREST)
            continue
        # Flagged samples do not show what a class looks like.
        distance[:, verdict.flagged[others.rows]] = torch.inf
        given = labels[others.rows]
        own, suggested = labels[rows, None], verdict.suggested_label[rows, None]
        yield from _lowest(rows, _within(distance, given == own), others.rows, GIVEN)
        yield from _lowest(rows, _within(distance, given == suggested), others.rows, SUGGESTED)


def _within(distance: Float[Tensor, "q m"], wanted: Bool[Tensor, "q m"]) -> Float[Tensor, "q m"]:
    return distance.masked_fill(~wanted, torch.inf)


def _lowest(
    rows: Int64[Tensor, " q"], distance: Float[Tensor, "q m"], others: Int64[Tensor, " m"], role: Role
) -> Iterator[tuple[int, Role, int, int]]:
    near = distance.topk(min(_EACH, distance.shape[1]), largest=False)
    for row, lengths, places in zip(rows.tolist(), near.values.tolist(), near.indices, strict=True):
        for order, (length, other) in enumerate(zip(lengths, others[places].tolist(), strict=True)):
            if length < float("inf"):
                yield row, role, order, other


def _same_inputs(
    rows: Sequence[int], fingerprints: Int64[Tensor, " n"], read: Read
) -> Iterable[tuple[int, Role, int, int]]:
    """The samples whose inputs are equal to those of one of the rows, at most ``_EACH`` for each."""
    marks = fingerprints[torch.tensor(rows, dtype=torch.int64)]
    if not marks.any():
        return
    alike = torch.isin(fingerprints, marks[marks != 0]).nonzero()[:, 0]
    groups: dict[int, list[int]] = {}
    for row, mark in zip(alike.tolist(), fingerprints[alike].tolist(), strict=True):
        groups.setdefault(mark, []).append(row)
    asked = dict(zip(rows, marks.tolist(), strict=True))
    several = {row: groups[mark] for row, mark in asked.items() if len(groups.get(mark, ())) > 1}
    some = sorted({one for row, group in several.items() for one in (row, *group[: 2 * _EACH])})
    digests = dict(zip(*read(some)[:2], strict=True)) if some else {}
    for row, group in several.items():
        same = [one for one in group if one != row and digests.get(one, b"") == digests.get(row)]
        yield from ((row, SAME, order, other) for order, other in enumerate(same[:_EACH]))


def _near_duplicates(rows: Sequence[int], kept: Int64[Tensor, " n"]) -> Iterator[tuple[int, Role, int, int]]:
    """The samples of the group of each of the rows, at most ``_EACH``; the one to keep comes first.

    Args:
        rows: Some samples.
        kept: The sample of its group that each one is left out for; -1 for all others.
    """
    first = {row: int(kept[row]) if kept[row] >= 0 else row for row in rows}
    groups: dict[int, list[int]] = {}
    asked = torch.tensor(sorted(set(first.values())), dtype=torch.int64)
    for row in torch.isin(kept, asked).nonzero()[:, 0].tolist():
        groups.setdefault(int(kept[row]), []).append(row)
    for row, stays in first.items():
        others = [one for one in (stays, *groups.get(stays, ())) if one != row]
        yield from ((row, NEAR, order, other) for order, other in enumerate(others[:_EACH]))


def _map(top: Kept, others: Kept, samples: Samples) -> pa.Table:
    """The two directions in which the gradients of the head differ most, of samples of one checkpoint."""
    first = set(top.rows.tolist())
    more = torch.tensor([row not in first for row in others.rows.tolist()], dtype=torch.bool)
    chosen = Kept.joined([top, others.take(more.nonzero()[:_MAPPED, 0])])
    alone = len(chosen.checkpoint.unique()) == 1
    if not alone or len(chosen.rows) < 3 or not chosen.residual.any():
        return empty(MAP)
    features = (chosen.features / units(others.features))[:, chosen.features.any(0)]
    gradients = torch.einsum("br,bd->brd", chosen.residual, features).flatten(1)
    # Few gradients are far longer than the others: by their square root all of them are visible.
    length = gradients.norm(dim=1, keepdim=True)
    gradients = gradients / length.sqrt().clamp_min(1e-30)
    place = _main_directions(gradients - gradients.mean(0))
    place = place * place.gather(0, place.abs().argmax(0, keepdim=True)).sign()  # the same on every machine
    x, y = (numbers(one.contiguous().numpy()) for one in place.t())
    return pa.table({"position": _positions(samples, chosen.rows), "x": x, "y": y}, schema=MAP)


def _main_directions(values: Float[Tensor, "m d"]) -> Float[Tensor, "m 2"]:
    """The coordinates along the two directions of the largest variance, by subspace iteration."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(values.shape[1], min(8, *values.shape), generator=generator)
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(values.t() @ (values @ basis))[0]
    inner = torch.linalg.svd(values @ basis, full_matrices=False)
    place = inner.U[:, :2] * inner.S[:2]
    return F.pad(place, (0, 2 - place.shape[1])).double()
