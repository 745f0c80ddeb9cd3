"""The manifest of a run: every sample and its fate.

In: a run and, if there are any, another budget and the user's decisions. Out: a table.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from ogacli.run.directory import Run
from ogacli.run.scores import OK
from ogacli.run.trim.fates import DROPPED, KEPT, QUARANTINED, RELABELLED, decide
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import parse_protect, protected
from ogacli.verdict.reasons import CORRUPT, REASONS, reasons

_TEXTS = pa.list_(pa.string())


def manifest_table(
    run: Run, *, budget: Budget | str | float | None = None, decisions: str | Path | None = None
) -> pa.Table:
    """Every sample with its fate, in the order of the dataset.

    Args:
        run: The run.
        budget: Flag another share of the samples than the scan did.
        decisions: A table that overrules the flags, as of :func:`ogacli.run.trim.fates.decide`.

    Returns:
        Columns ``id, position, label, fate, new_label, score, rank, reason, suggested_label, confidence``.

    Raises:
        ConfigError: The budget is none.
        DataError: The decisions name samples that are not in the run, or are not decisions.
    """
    scores = run.scores
    flagged = scores.column("flagged").to_numpy()
    reason = scores.column("reason").combine_chunks()
    ok = pc.equal(scores.column("status"), OK)
    if budget is not None:
        flagged = _flagged(run, budget if isinstance(budget, Budget) else Budget.parse(budget, "budget"))
        reason = pc.if_else(
            ok, pc.if_else(pa.array(flagged), _reasons(scores), None), scores.column("reason")
        )
    fate = np.where(ok.to_numpy(), np.where(flagged, DROPPED, KEPT), QUARANTINED).astype(object)
    new_label: list[Any] = [None] * len(fate)
    if decisions is not None:
        decide(decisions, run, fate, new_label)
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
    """The flags of another budget; classes are protected as in the scan."""
    scores = run.scores
    rank = scores.column("rank").fill_null(0).to_numpy()
    scored, estimate = run.summary.scored, run.summary.estimate
    count = budget.count(scored, estimate.count(scored) if estimate else 0)
    flagged: Bool[np.ndarray, " n"] = (rank > 0) & (rank <= count)
    if not run.summary.classes:
        return flagged
    classes = scores.column("label").combine_chunks().dictionary_encode().indices.to_numpy()
    return protected(flagged, rank, classes, parse_protect(run.config.get("protect", "off")))


def _reasons(scores: pa.Table) -> pa.Array:
    """The reason of each sample if it is flagged; blank inputs are known only of flagged ones."""
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
    return np.asarray(staying(manifest).column("position"), dtype=np.int64)


def staying(manifest: pa.Table) -> pa.Table:
    """The rows of the samples that are kept or relabelled."""
    return manifest.filter(pc.is_in(manifest.column("fate"), pa.array([KEPT, RELABELLED])))
