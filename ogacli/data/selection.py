"""Which samples of a source, and with which labels: ``limit``, ``manifest`` and ``flip``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import torch
from pydantic import Field

from ogacli.base.options import Options
from ogacli.base.tables import check_columns, read_table
from ogacli.data.samples import Samples
from ogacli.data.weights import WEIGHT, weights_of
from ogacli.errors import DataError

_TEXT = ("id", "fate", "new_label")
"""Columns of a manifest that are read as text even where all values are numbers."""

_APART = 1 << 31
"""Added to the seed of ``limit``, which would otherwise choose the same samples as ``flip``. (torch uses 32
bits of a seed.)"""


class Limit(Options):
    """A random subset of the samples."""

    count: Annotated[int, Field(ge=1)]
    """Number of samples."""
    seed: int = 0
    """Seed of the choice."""


def limited(samples: Samples, limit: int | Limit) -> Samples:
    """The first ``limit`` samples, or a seeded random subset in the order of the source."""
    if isinstance(limit, int):
        return samples.select(torch.arange(min(limit, len(samples))))
    generator = torch.Generator().manual_seed(limit.seed + _APART)
    rows = torch.randperm(len(samples), generator=generator)[: limit.count]
    return samples.select(rows.sort().values)


def flip_labels(samples: Samples, share: float, seed: int) -> Samples:
    """Give ``round(share * n)`` samples another class, drawn uniformly from the others.

    Raises:
        DataError: The labels are not classes, or there is only one class.
    """
    k = len(samples.classes)
    if samples.class_index is None or k < 2:
        raise DataError("cannot flip these labels", expected="one of at least two classes a sample")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(samples), generator=generator)[: round(share * len(samples))]
    labels = samples.labels.clone()
    labels[chosen] = (labels[chosen] + torch.randint(1, k, (len(chosen),), generator=generator)) % k
    truth = samples.labels if samples.truth is None else samples.truth
    return replace(samples, labels=labels, truth=truth)


def kept_ids(samples: Samples, manifest: str | Path) -> Samples:
    """The samples that a manifest of ``oga trim`` kept or relabelled, with its weights where it has any.

    Raises:
        DataError: The manifest cannot be read, or names a label that the data does not have.
    """
    table = read_table(manifest, text=_TEXT)
    check_columns(table, ("id", "fate"), manifest, "a manifest written by `oga trim`")
    names = table.column("id").cast(pa.string()).to_pylist()
    fates = dict(zip(names, table.column("fate").to_pylist(), strict=True))
    ids = samples.ids.to_pylist()
    rows = [row for row, name in enumerate(ids) if fates.get(name) in ("kept", "relabelled")]
    if not rows:
        raise DataError(
            "the manifest keeps none of the samples",
            place=str(manifest),
            found=f"ids such as {names[0]!r}" if names else "no rows",
            expected=f"ids such as {ids[0]!r}",
        )
    labels = samples.labels.clone()
    if "relabelled" in fates.values():
        if samples.class_index is None:
            raise DataError("relabels samples that do not have one class each", place=str(manifest))
        given = dict(zip(names, table.column("new_label").to_pylist(), strict=True))
        index = {name: i for i, name in enumerate(samples.classes)}
        for row in (row for row in rows if fates[ids[row]] == "relabelled"):
            label = given[ids[row]]
            if label not in index:
                place, expected = f"{manifest}: sample {ids[row]!r}", f"one of {', '.join(samples.classes)}"
                raise DataError("unknown class", place=place, found=repr(label), expected=expected)
            labels[row] = index[label]
    kept = replace(samples, labels=labels).select(torch.tensor(rows))
    if WEIGHT not in table.column_names:
        return kept
    return replace(kept, weights=weights_of(kept, table, WEIGHT, str(manifest)))
