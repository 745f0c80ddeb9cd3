"""``oga trim``: run directory -> cleaned split.

A manifest with every sample's fate (csv, jsonl, parquet), the positions of the kept ones (npy), or a copy of
the images without the dropped ones. The dataset itself is never touched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ogacli.budget import Budget
from ogacli.errors import ConfigError, DataError
from ogacli.folders import new_file, new_folder
from ogacli.progress import SILENT, Progress
from ogacli.run import Run
from ogacli.tables import read_table, write_table

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset

    from ogacli.data import Samples

Format = Literal["csv", "jsonl", "parquet", "indices", "image_folder"]
FORMATS: tuple[str, ...] = get_args(Format)
KEPT, DROPPED, RELABELLED, QUARANTINED = "kept", "dropped", "relabelled", "quarantined"
_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".npy": "indices"}
_DECISIONS = {"keep": KEPT, "drop": DROPPED, "relabel": RELABELLED}
_MANIFEST = "manifest.csv"


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim wrote."""

    path: Path
    format: str
    fates: Mapping[str, int]
    """How many samples were kept, dropped, relabelled and quarantined."""


def trim(
    run: Run,
    to: str | Path,
    *,
    budget: Budget | None = None,
    decisions: str | Path | None = None,
    format: str | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trimmed:
    """Write the cleaned split of a run.

    Args:
        run: What a scan found.
        to: The file or folder to write.
        budget: Flag another share of the samples than the scan did.
        decisions: A table with the columns ``id``, ``decision`` (keep, drop or relabel) and, for relabel,
            ``label``; it overrules the flags.
        format: One of ``FORMATS``; from the suffix of ``to`` where left out.
        overwrite: Replace what stands there, if it is ours.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    destination = Path(to)
    chosen = _format(destination, format)
    manifest = manifest_table(run, budget=budget, decisions=decisions)
    if chosen == "image_folder":
        _write_images(run, manifest, destination, overwrite, progress)
    else:
        with new_file(destination, overwrite=overwrite) as file:
            if chosen == "indices":
                np.save(file, kept_positions(manifest))
            else:
                write_table(manifest, file, chosen)
    fates = dict.fromkeys((KEPT, DROPPED, RELABELLED, QUARANTINED), 0)
    fates |= {row["values"]: row["counts"] for row in pc.value_counts(manifest.column("fate")).to_pylist()}
    return Trimmed(destination, chosen, fates)


def manifest_table(
    run: Run, *, budget: Budget | None = None, decisions: str | Path | None = None
) -> pa.Table:
    """Every sample with its fate, in the order of the dataset.

    Returns:
        Columns ``id, position, label, fate, new_label, score, rank, reason, suggested_label, confidence``.

    Raises:
        DataError: The decisions name samples that are not in the run, or are not decisions.
    """
    scores = run.scores
    flagged = scores.column("flagged").to_numpy()
    reason = scores.column("reason").combine_chunks()
    disagrees = scores.column("suggested_label").is_valid()
    if budget is not None:
        count = budget.count(run.summary.scored, pc.sum(disagrees).as_py() or 0)
        flagged = pc.less_equal(scores.column("rank"), count).fill_null(False).to_numpy()
        fresh = pc.if_else(disagrees, "mislabelled", "atypical")
        ok = pc.equal(scores.column("status"), "ok")
        reason = pc.if_else(ok, pc.if_else(pa.array(flagged), fresh, None), scores.column("reason"))
    lost = pc.equal(scores.column("status"), "quarantined").to_numpy()
    fate = np.where(lost, QUARANTINED, np.where(flagged, DROPPED, KEPT)).astype(object)
    new_label: list[Any] = [None] * len(fate)
    if decisions is not None:
        _apply(decisions, scores, fate, new_label)
    label = scores.column("label")
    columns: dict[str, Any] = {name: scores.column(name) for name in ("id", "position")}
    columns |= {
        "label": pc.binary_join(label, "|") if pa.types.is_list(label.type) else label,
        "fate": pa.array(fate, pa.string()),
        "new_label": pa.array(new_label, pa.string()),
        "score": scores.column("score"),
        "rank": scores.column("rank"),
        "reason": reason,
        "suggested_label": scores.column("suggested_label"),
        "confidence": scores.column("confidence"),
    }
    return pa.table(columns)


def kept_positions(manifest: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The positions, in the source, of the samples that stay."""
    stays = pc.is_in(manifest.column("fate"), pa.array([KEPT, RELABELLED]))
    return np.asarray(manifest.filter(stays).column("position"), dtype=np.int64)


def load_kept(dataset: Dataset[Any], kept: Run | str | Path, *, budget: Budget | None = None) -> Subset[Any]:
    """The kept part of a dataset, for training.

    Args:
        dataset: The dataset that was scanned, whole and in the same order.
        kept: A run, a run directory, or the npy file that ``oga trim --format indices`` wrote.
        budget: For a run: flag another share of the samples than the scan did.

    Raises:
        DataError: The dataset is smaller than the one that was scanned.
    """
    from torch.utils.data import Subset

    if isinstance(kept, str | Path) and Path(kept).suffix == ".npy":
        positions = np.load(kept, allow_pickle=False)
    else:
        run = kept if isinstance(kept, Run) else Run.open(kept)
        positions = kept_positions(manifest_table(run, budget=budget))
    n = len(dataset)  # type: ignore[arg-type]
    if len(positions) and positions.max() >= n:
        raise DataError(
            "the dataset is smaller than the one that was scanned",
            found=f"{n} samples",
            expected=f"at least {positions.max() + 1}",
        )
    return Subset(dataset, positions.tolist())


def _format(destination: Path, format: str | None) -> str:
    found = format or _SUFFIXES.get(destination.suffix.lower())
    if found is None:
        raise ConfigError(
            "the format cannot be told from the name",
            place=f"--to {destination}",
            expected=f"a suffix ({', '.join(_SUFFIXES)}) or --format {'|'.join(FORMATS)}",
        )
    if found not in FORMATS:
        raise ConfigError(
            "unknown format", place="--format", found=repr(found), expected=f"one of {', '.join(FORMATS)}"
        )
    return found


def _apply(path: str | Path, scores: pa.Table, fate: Any, new_label: list[Any]) -> None:
    """Overrule fates by a table of decisions."""
    table = read_table(path)
    missing = {"id", "decision"} - set(table.column_names)
    if missing:
        raise DataError(
            f"no column {', '.join(sorted(missing))}",
            place=str(path),
            found=", ".join(table.column_names),
            expected="id, decision and, where a decision is relabel, label",
        )
    row_of = {name: row for row, name in enumerate(scores.column("id").to_pylist())}
    table = table.set_column(table.column_names.index("id"), "id", table.column("id").cast(pa.string()))
    for line, decision in enumerate(table.to_pylist(), 2):
        place = f"{path}: row {line}: sample {decision['id']!r}"
        if decision["id"] not in row_of:
            raise DataError("not a sample of the run", place=place)
        if decision["decision"] not in _DECISIONS:
            raise DataError(
                "not a decision",
                place=place,
                found=repr(decision["decision"]),
                expected=f"one of {', '.join(_DECISIONS)}",
            )
        row = row_of[decision["id"]]
        fate[row] = _DECISIONS[decision["decision"]]
        new_label[row] = None
        if fate[row] == RELABELLED:
            label = decision.get("label")
            if label is None:
                label = scores.column("suggested_label")[row].as_py()
            if label is None:
                raise DataError("no new label", place=place, expected="a class name in the column label")
            new_label[row] = str(label)


# --- image_folder -------------------------------------------------------------------------------------


def _write_images(
    run: Run, manifest: pa.Table, destination: Path, overwrite: bool, progress: Progress
) -> None:
    """``destination/<label>/<file>`` for every sample that stays, and the manifest beside them."""
    samples = _reopen(run)
    stays = manifest.filter(pc.is_in(manifest.column("fate"), pa.array([KEPT, RELABELLED])))
    with (
        new_folder(destination, overwrite=overwrite, ours=lambda f: (f / _MANIFEST).is_file()) as work,
        progress.bar("writing images", stays.num_rows) as advance,
    ):
        for source, name in _image_names(samples, stays):
            target = work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(source, target)
            advance(1)
        with (work / _MANIFEST).open("wb") as file:
            write_table(manifest, file, "csv")


def _reopen(run: Run) -> Samples:
    """The dataset of a run, unchanged since the scan."""
    from ogacli.config import load_config

    samples = load_config(run.config_file).data.open()
    if samples.fingerprint != run.provenance["dataset"]["fingerprint"]:
        raise DataError(
            "the dataset has changed since the scan", place=str(run.path), hint="scan it again, then trim"
        )
    return samples


def _image_names(samples: Samples, stays: pa.Table) -> Iterator[tuple[Path | bytes, str]]:
    """Each kept sample's file, and where it goes: unique names inside a folder a label."""
    from ogacli.data import Unreadable

    taken: set[str] = set()
    for row in stays.to_pylist():
        try:
            source = samples.reader.file(row["position"])
        except Unreadable as error:
            raise DataError(
                "cannot be read any more", place=f"sample {row['id']!r}", found=str(error)
            ) from None
        if source is None:
            raise DataError(
                "the samples of this dataset are not files",
                place=f"sample {row['id']!r}",
                hint="use --format csv, jsonl, parquet or indices",
            )
        label = _safe(str(row["new_label"] or row["label"]))
        name = PurePosixPath(row["id"].replace("\\", "/")).name
        if isinstance(source, Path):
            name = PurePosixPath(name).stem + source.suffix
        if f"{label}/{name}".lower() in taken:
            name = row["id"].replace("\\", "/").replace("/", "-")
        taken.add(f"{label}/{name}".lower())
        yield source, f"{label}/{_safe(name)}"


def _safe(name: str) -> str:
    """A name that stays inside its folder."""
    return name.replace("/", "-").replace("\\", "-").replace("\0", "-").lstrip(".") or "_"


def _place(source: Path | bytes, target: Path) -> None:
    """Hard link where the file system allows, a copy otherwise."""
    if isinstance(source, bytes):
        target.write_bytes(source)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
