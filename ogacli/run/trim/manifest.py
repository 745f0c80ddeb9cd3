"""The manifest of a run: every sample and its fate.

In: a run and, if there are any, another budget and the user's decisions. Out: a table. Flagged samples are
dropped; or get the suggested label; or all samples are kept with a weight.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from ogacli.errors import ConfigError, RunError
from ogacli.run.directory import Run
from ogacli.run.scores import OK
from ogacli.run.trim.fates import DROPPED, KEPT, QUARANTINED, RELABELLED, decide
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import parse_protect, protected
from ogacli.verdict.reasons import CORRUPT, REASONS, reasons
from ogacli.verdict.relabel import Relabel

_TEXTS = pa.list_(pa.string())


def manifest_table(
    run: Run,
    *,
    budget: Budget | str | float | None = None,
    decisions: str | Path | None = None,
    relabel: bool = False,
    weights: bool = False,
) -> pa.Table:
    """Every sample with its fate, in the order of the dataset.

    Args:
        run: The run.
        budget: Flag another share of the samples than the scan did.
        decisions: A table that overrules the flags, as of :func:`ogacli.run.trim.fates.decide`.
        relabel: Give flagged samples the suggested label where it is more probable than ``relabel.above``.
        weights: Drop none of the flagged samples; add the column ``weight``, the probability that the given
            label is right.

    Returns:
        Columns ``id, position, label, fate, new_label, score, rank, reason, suggested_label, confidence``,
        and with ``weights`` the column ``weight``.

    Raises:
        ConfigError: The budget is none, or samples do not have one class each as ``relabel`` and ``weights``
            need.
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
    if relabel or weights:
        _check_classes(run, relabel=relabel, weights=weights)
    keeps_all = weights or (budget is None and Budget.parse(run.summary.budget).review)
    fate = np.where(ok.to_numpy(), np.where(flagged & (not keeps_all), DROPPED, KEPT), QUARANTINED)
    fate = fate.astype(object)
    new_label: list[Any] = [None] * len(fate)
    if relabel:
        _relabel(run, fate, new_label)
    decided = [] if decisions is None else decide(decisions, run, fate, new_label)
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
    if weights:
        columns["weight"] = _weights(scores, fate, decided)
    return pa.table(columns)


def _check_classes(run: Run, *, relabel: bool, weights: bool) -> None:
    """Refuse labels that are not one class each, and both actions at once."""
    if relabel and weights:
        raise ConfigError(
            "either relabel or weight the samples", place="--weights", found="--relabel as well"
        )
    name = "--relabel" if relabel else "--weights"
    if not run.summary.classes or not pa.types.is_string(run.scores.column("label").type):
        raise ConfigError(
            "the samples do not have one class each", place=name, hint=f"leave {name} out to trim them"
        )


def _relabel(run: Run, fate: Any, new_label: list[Any]) -> None:
    """Replace the fate of dropped samples whose suggested label is probable enough; in place."""
    suggested = run.scores.column("suggested_label")
    confidence = run.scores.column("confidence").to_numpy().astype(float)
    confidence[suggested.is_null().to_numpy()] = np.nan
    bound = Relabel.given(run.config.get("relabel"), "relabel")
    for row in bound.relabelled(fate == DROPPED, confidence).nonzero()[0].tolist():
        fate[row], new_label[row] = RELABELLED, suggested[row].as_py()


def _weights(scores: pa.Table, fate: Any, decided: list[int]) -> pa.Array:
    """The probability that the label is right: 1 where a person decided; null for samples that go."""
    if "given_label_probability" not in scores.column_names:
        raise RunError(
            "the run has no probability of the given labels",
            place="given_label_probability",
            hint="scan again with this version of oga",
        )
    weight = scores.column("given_label_probability").to_numpy().astype(float)
    weight[decided] = 1.0
    return pa.array(weight, mask=~np.isin(fate, [KEPT, RELABELLED]) | np.isnan(weight))


def _flagged(run: Run, budget: Budget) -> Bool[np.ndarray, " n"]:
    """The flags of another budget; classes are protected as in the scan.

    Raises:
        ConfigError: The budget is ``benefit``, and the run did not try out how much.
    """
    scores = run.scores
    if budget.value == "benefit":
        if run.summary.benefit is None:
            raise ConfigError(
                "the run did not try out how much to leave out",
                place="budget",
                found="benefit",
                expected="a run that was scanned with `budget: benefit`",
                hint="oga scan CONFIG --set budget=benefit",
            )
        budget = budget.chosen(run.summary.benefit.amount)
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
