"""The manifest of a run: every sample and its fate, a part of the rows at a time.

In: a run and its fates. Out: record batches, in the order of the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from jaxtyping import Bool, UInt8

from ogacli.base.arrow import numbers, texts
from ogacli.base.blocks import release
from ogacli.base.tables import FORMATS, write_table
from ogacli.base.tables.spreadsheet import spreadsheet_safe
from ogacli.errors import ConfigError
from ogacli.run.directory import Run
from ogacli.run.label_kind import SEPARATOR
from ogacli.run.scores import NEAR
from ogacli.run.trim.fates import FATES, Fates, Options, fates_of
from ogacli.verdict.budget import Budget
from ogacli.verdict.reasons import CORRUPT, PICTURES, REASONS, reasons

_TEXTS = pa.list_(pa.string())
_READ = (
    *("id", "position", "label", "score", "rank", "reason", "suggested_label", "confidence"),
    *("given_label_probability", "probability", "duplicate_of", "picture"),
    *(NEAR, "leaks", "far"),
)


def manifest_table(
    run: Run,
    *,
    budget: Budget | str | float | None = None,
    decisions: str | Path | None = None,
    relabel: bool = False,
    weights: bool = False,
    near_duplicates: bool = False,
    leaks: bool = False,
) -> pa.Table:
    """Every sample with its fate, in the order of the dataset; the whole manifest in memory.

    Args:
        run: The run.
        budget: Flag another share of the samples than the scan did.
        decisions: A file that overrules the flags, as of :func:`ogacli.run.decisions.read_decisions`.
        relabel: Give flagged samples the suggested label where it is more probable than ``relabel.above``.
        weights: Drop none of the flagged samples; add the column ``weight``.
        near_duplicates: Keep one of each group of near-duplicates.
        leaks: Drop the samples that the dataset ``against`` has as well.

    Returns:
        The columns of :func:`manifest_batches`.

    Raises:
        ConfigError: As :func:`ogacli.run.trim.fates.fates_of`.
        DataError: The decisions are wrong.
    """
    options = Options(budget_given(budget), decisions, relabel, weights, near_duplicates, leaks)
    return pa.Table.from_batches(manifest_batches(run, fates_of(run, options), options))


def budget_given(budget: Budget | str | float | None) -> Budget | None:
    """A budget from an argument of a Python function.

    Raises:
        ConfigError: It is none.
    """
    return budget if budget is None or isinstance(budget, Budget) else Budget.parse(budget, "budget")


def manifest_batches(run: Run, fates: Fates, options: Options) -> Iterator[pa.RecordBatch]:
    """Every sample with its fate.

    Returns:
        Columns ``id, position, label, fate, new_label, score, rank, reason, suggested_label, confidence``,
        and with ``weights`` the column ``weight``.
    """
    names, start = texts(FATES), 0
    read = [name for name in _READ if name in run.schema.names]
    for batch in run.batches(read):
        rows = slice(start, start + len(batch))
        columns: dict[str, Any] = {name: batch.column(name) for name in ("id", "position")}
        columns["label"] = _plain(batch.column("label"))
        columns["fate"] = names.take(numbers(fates.fate[rows]))
        new = [fates.new_label.get(row) for row in range(rows.start, rows.stop)] if fates.new_label else None
        columns["new_label"] = (
            pa.nulls(len(batch), pa.string()) if new is None else pa.array(new, pa.string())
        )
        for name in ("score", "rank", "reason", "suggested_label", "confidence"):
            columns[name] = _plain(batch.column(name))
        if options.budget is not None:
            columns["reason"] = _reasons(batch, fates.flagged[rows])
        if fates.weight is not None:
            weight = fates.weight[rows]
            columns["weight"] = numbers(weight, np.isnan(weight))
        yield pa.record_batch(columns)
        start += len(batch)
        release()


def _plain(column: pa.Array) -> pa.Array:
    """A column without dictionary, and lists as texts with ``|`` between their members."""
    if pa.types.is_list(column.type):
        return pc.binary_join(column.cast(_TEXTS), SEPARATOR)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _reasons(batch: pa.RecordBatch, flagged: Any) -> pa.Array:
    """The reasons of another budget's flags; those of quarantined samples stay.

    Blank inputs are known only of samples that the scan flagged.
    """
    given = "given_label_probability" if "given_label_probability" in batch.schema.names else "probability"
    old = _plain(batch.column("reason"))
    index = reasons(
        differs=_array(batch.column("suggested_label").is_valid()),
        confidence=_array(batch.column("confidence")),
        probability=_array(batch.column(given)),
        duplicate=_array(batch.column("duplicate_of").is_valid()),
        blank=_array(pc.equal(old, CORRUPT).fill_null(False)),
        picture=_pictures(batch),
        near_duplicate=_told(batch, NEAR),
        leaks=_told(batch, "leaks"),
        far=_told(batch, "far"),
    )
    quarantined = pa.array(_array(batch.column("score").is_null()))
    found = pa.array(REASONS).take(pa.array(index, mask=~flagged))
    return pc.if_else(quarantined, old, found)


def _told(batch: pa.RecordBatch, name: str) -> Bool[np.ndarray, " n"] | None:
    """Of which samples a column says something; None where the run does not have it."""
    return _array(batch.column(name).is_valid()) if name in batch.schema.names else None


def _pictures(batch: pa.RecordBatch) -> UInt8[np.ndarray, " n"]:
    """What is wrong with each picture, an index into ``PICTURES``."""
    if "picture" not in batch.schema.names:
        return np.zeros(len(batch), np.uint8)
    found = pc.index_in(_plain(batch.column("picture")), texts(PICTURES)).fill_null(0)
    return np.asarray(_array(found), dtype=np.uint8)


def _array(column: pa.Array) -> Any:
    return column.to_numpy(zero_copy_only=False)


def write_manifest(run: Run, fates: Fates, options: Options, file: IO[bytes], format: str) -> None:
    """Write the manifest as csv, jsonl or parquet, a part at a time."""
    batches = manifest_batches(run, fates, options)
    first = next(batches)
    if format == "parquet":
        with pyarrow.parquet.ParquetWriter(file, first.schema) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)
        return
    shown = spreadsheet_safe if options.spreadsheet_safe and format == "csv" else pa.table
    write_table(shown(pa.table(first)), file, format)
    for batch in batches:
        write_table(shown(pa.table(batch)), file, format, header=False)


def manifest_format(path: Path) -> str:
    """The format of a manifest by its suffix.

    Raises:
        ConfigError: It is none of a table.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None or path.suffix.lower() == ".tsv":
        raise ConfigError(
            "the format cannot be told from the name",
            place=f"--manifest {path}",
            expected="a suffix .csv, .jsonl or .parquet",
        )
    return found
