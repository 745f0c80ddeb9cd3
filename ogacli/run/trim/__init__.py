"""``oga trim``: run directory -> cleaned split.

A manifest with every sample's fate (csv, jsonl, parquet), the positions of the kept ones (npy), a copy of the
images without the dropped ones, or the rows of a `datasets` dataset. The dataset itself is never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from ogacli.base.atomic import new_file
from ogacli.base.progress import SILENT, Progress
from ogacli.base.tables import read_table, write_table
from ogacli.base.wording import listed
from ogacli.errors import ConfigError, DataError
from ogacli.run.directory import Run
from ogacli.run.trim.hf import write_rows
from ogacli.run.trim.image_folder import write_images
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import protected
from ogacli.verdict.reasons import CORRUPT, REASONS, reasons

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset

Format = Literal["csv", "jsonl", "parquet", "indices", "image_folder", "hf"]
FORMATS: tuple[str, ...] = get_args(Format)
KEPT, DROPPED, RELABELLED, QUARANTINED = "kept", "dropped", "relabelled", "quarantined"
_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".npy": "indices"}
_DECISIONS = {"keep": KEPT, "drop": DROPPED, "relabel": RELABELLED}
_TEXTS = pa.list_(pa.string())


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
    config: str | Path | None = None,
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
        config: For images and rows: a config file whose data section is opened in place of that in the run
            directory, which may not run code.
        overwrite: Replace what stands there, if it is ours.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    destination = Path(to)
    chosen = _format(destination, format)
    manifest = manifest_table(run, budget=budget, decisions=decisions)
    if chosen == "image_folder":
        stays = _staying(manifest)
        write_images(run, manifest, stays, destination, config=config, overwrite=overwrite, progress=progress)
    elif chosen == "hf":
        write_rows(run, manifest, _staying(manifest), destination, config=config, overwrite=overwrite)
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
    if budget is not None:
        flagged = _flagged(run, budget)
        ok = pc.equal(scores.column("status"), "ok")
        reason = pc.if_else(
            ok, pc.if_else(pa.array(flagged), _reasons(scores), None), scores.column("reason")
        )
    lost = pc.equal(scores.column("status"), "quarantined").to_numpy()
    fate = np.where(lost, QUARANTINED, np.where(flagged, DROPPED, KEPT)).astype(object)
    new_label: list[Any] = [None] * len(fate)
    if decisions is not None:
        _apply(decisions, run, fate, new_label)
    label = scores.column("label")
    columns: dict[str, Any] = {name: scores.column(name) for name in ("id", "position")}
    columns |= {
        "label": pc.binary_join(label.cast(_TEXTS), "|") if pa.types.is_list(label.type) else label,
        "fate": pa.array(fate, pa.string()),
        "new_label": pa.array(new_label, pa.string()),
        "score": scores.column("score"),
        "rank": scores.column("rank"),
        "reason": reason,
        "suggested_label": scores.column("suggested_label"),
        "confidence": scores.column("confidence"),
    }
    return pa.table(columns)


def _flagged(run: Run, budget: Budget) -> Bool[np.ndarray, " n"]:
    """What another budget flags, rare classes protected as in the scan."""
    scores = run.scores
    rank = scores.column("rank").fill_null(0).to_numpy()
    scored, estimate = run.summary.scored, run.summary.estimate
    count = budget.count(scored, estimate.count(scored) if estimate else 0)
    flagged: Bool[np.ndarray, " n"] = (rank > 0) & (rank <= count)
    if not run.summary.classes:
        return flagged
    classes = scores.column("label").combine_chunks().dictionary_encode().indices.to_numpy()
    return protected(flagged, rank, classes, run.config.get("protect", "off"))


def _reasons(scores: pa.Table) -> pa.Array:
    """Why each sample would be flagged; a blank input is known only of those that the scan flagged."""
    index = reasons(
        differs=scores.column("suggested_label").is_valid().to_numpy(),
        confidence=scores.column("confidence").to_numpy(),
        probability=scores.column("probability").to_numpy(),
        duplicate=scores.column("duplicate_of").is_valid().to_numpy(),
        blank=pc.equal(scores.column("reason"), CORRUPT).fill_null(False).to_numpy(),
    )
    return pa.array(REASONS).take(pa.array(index))


def kept_positions(manifest: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The positions, in the source, of the samples that stay."""
    return np.asarray(_staying(manifest).column("position"), dtype=np.int64)


def _staying(manifest: pa.Table) -> pa.Table:
    return manifest.filter(pc.is_in(manifest.column("fate"), pa.array([KEPT, RELABELLED])))


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
        positions = _load_positions(Path(kept))
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


def _load_positions(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    try:
        with path.open("rb") as file:
            found: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError("cannot be read as positions", place=str(path), found=str(error)) from None
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise DataError(
            "not positions",
            place=str(path),
            found=f"{found.dtype} {list(found.shape)}",
            expected="what `oga trim --format indices` wrote",
        )
    return found


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


def _apply(path: str | Path, run: Run, fate: Any, new_label: list[Any]) -> None:
    """Overrule fates by a table of decisions."""
    scores, classes = run.scores, [one.name for one in run.summary.classes]
    table = read_table(path, text=("id", "decision", "label"))
    missing = {"id", "decision"} - set(table.column_names)
    if missing:
        raise DataError(
            f"no column {', '.join(sorted(missing))}",
            place=str(path),
            found=", ".join(table.column_names),
            expected="id, decision and, where a decision is relabel, label",
        )
    row_of = {name: row for row, name in enumerate(scores.column("id").to_pylist())}
    for number, decision in enumerate(table.to_pylist(), 1):
        place = f"{path}: row {number}: sample {decision['id']!r}"
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
            new_label[row] = _new_label(decision.get("label"), scores.slice(row, 1), classes, place)


def _new_label(given: str | None, sample: pa.Table, classes: Sequence[str], place: str) -> str:
    """The label that a decision names, or else the suggested one."""
    label = given or sample.column("suggested_label")[0].as_py()
    if label is None:
        raise DataError("no new label", place=place, expected="a class name in the column label")
    if label not in classes:
        shown = listed(classes, 12) or "no classes: samples of this run cannot be relabelled"
        raise DataError("unknown class", place=place, found=repr(label), expected=f"one of {shown}")
    return str(label)
