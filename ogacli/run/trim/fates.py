"""The fate of each sample: kept, dropped, relabelled or quarantined.

In: a run and, if there are any, another budget and the decisions of people. Out: ``Fates``. Flagged samples
are dropped; or get the suggested label; or all samples are kept with a weight. A few columns of the scores
are read, part by part; they take some ten bytes a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int8, Int64

from ogacli.base.arrow import numbers, texts, unpacked, value
from ogacli.base.blocks import blocks, column, release
from ogacli.errors import ConfigError, RunError
from ogacli.run.decisions import read_decisions
from ogacli.run.directory import Run
from ogacli.run.issues import DOUBTFUL, issues_of
from ogacli.run.label_kind import label_kind, label_text, pixels_or_boxes
from ogacli.run.scores import LEAKS, NEAR, OK
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import parse_protect, protected
from ogacli.verdict.relabel import Relabel

KEPT, DROPPED, RELABELLED, QUARANTINED = FATES = ("kept", "dropped", "relabelled", "quarantined")
_KEPT, _DROPPED, _RELABELLED, _QUARANTINED = range(len(FATES))
_NOT_LOOKED_FOR = {
    NEAR: {
        "problem": "the run did not look for near-duplicates",
        "place": "--near-duplicates",
        "hint": "scan again with `look_for: near_duplicates`",
    },
    LEAKS: {
        "problem": "the run was not compared with another dataset",
        "place": "--leaks",
        "hint": "scan again with a section `against`",
    },
}
"""The error where a scan did not fill a column."""
_DECIDED = {"keep": _KEPT, "drop": _DROPPED, "relabel": _RELABELLED}


@dataclass(frozen=True, slots=True)
class Options:
    """What is done with the samples of a run."""

    budget: Budget | None = None
    """Flag another share of the samples than the scan did."""
    decisions: str | Path | None = None
    """A file of decisions, which overrule the flags."""
    relabel: bool = False
    """Flagged samples get the suggested label where it is probable enough; the others are dropped."""
    weights: bool = False
    """No flagged sample is dropped; each has a weight."""
    near_duplicates: bool = False
    """Of each group of near-duplicates one sample stays."""
    leaks: bool = False
    """No sample stays that the dataset ``against`` of the scan has as well."""
    keep_quarantined: bool = False
    """Samples that could not be scored stay."""
    spreadsheet_safe: bool = False
    """Texts of a csv manifest that a spreadsheet would run begin with an apostrophe."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """The columns of the scores whose samples go, flagged or not."""
        return (NEAR,) * self.near_duplicates + (LEAKS,) * self.leaks


@dataclass(frozen=True, slots=True)
class Fates:
    """What becomes of each sample, a row a sample in the order of the run."""

    fate: Int8[np.ndarray, " n"]
    """An index into ``FATES``."""
    position: Int64[np.ndarray, " n"]
    """The row in the source."""
    new_label: Mapping[int, str]
    """The new label of each relabelled row, as a text of ``ogacli.run.label_kind``."""
    flagged: Bool[np.ndarray, " n"]
    """By the budget, before the decisions."""
    decided: Int64[np.ndarray, " d"]
    """The rows that people decided on."""
    weight: Float[np.ndarray, " n"] | None
    """With ``weights``: the probability that the given label is right, 1 where a person decided; NaN for
    samples that go, and where it is unknown."""

    @property
    def staying(self) -> Int64[np.ndarray, " m"]:
        """The rows of the samples that are kept or relabelled."""
        return self._stays(slice(None)).nonzero()[0]

    def staying_positions(self) -> Iterator[Int64[np.ndarray, " m"]]:
        """The rows in the source of the samples that are kept or relabelled, in parts."""
        for block in blocks(len(self.fate)):
            yield self.position[block][self._stays(block)]

    def _stays(self, rows: slice) -> Bool[np.ndarray, " n"]:
        stays: Bool[np.ndarray, " n"] = (self.fate[rows] == _KEPT) | (self.fate[rows] == _RELABELLED)
        return stays

    def counts(self) -> dict[str, int]:
        """How many samples have each fate."""
        return {name: int((self.fate == number).sum()) for number, name in enumerate(FATES)}


def fates_of(run: Run, options: Options) -> Fates:
    """The fate of each sample.

    Raises:
        ConfigError: The budget is none, or ``relabel`` or ``weights`` do not take labels of this kind.
        DataError: The decisions are wrong.
        RunError: The run has no probabilities of the given labels, which are the weights; or did not look for
            near-duplicates or leaks.
    """
    if options.relabel or options.weights:
        _check_classes(run, options)
    columns = _columns(run, options)
    flagged, ok = columns["flagged"], columns["ok"]
    if options.budget is not None:
        flagged = _flagged(run, options.budget, columns["rank"])
    keeps_all = options.weights or (options.budget is None and Budget.parse(run.summary.budget).review)
    fate = np.full(len(flagged), _KEPT, dtype=np.int8)
    if not keeps_all:
        fate[flagged] = _DROPPED
    if not options.keep_quarantined:
        fate[~ok] = _QUARANTINED
    new_label: dict[int, str] = {}
    if options.relabel:
        new_label = _relabelled(run, fate, columns["position"])
        fate[list(new_label)] = _RELABELLED
    if options.left_out:
        left_out = columns["left_out"]
        fate[left_out & (fate != _QUARANTINED)] = _DROPPED
        new_label = {row: label for row, label in new_label.items() if not left_out[row]}
    weight = columns.get("given_label_probability")
    decided = np.empty(0, dtype=np.int64)
    if options.decisions is not None:
        found = read_decisions(options.decisions, run)
        decided = found.rows
        for row, decision in zip(found.rows.tolist(), found.decided, strict=True):
            fate[row] = _DECIDED[decision.action]
            new_label.pop(row, None)
            if decision.label is not None:
                new_label[row] = decision.label
        if weight is not None:
            weight[found.rows] = 1.0
    if weight is not None:
        weight[(fate == _DROPPED) | (fate == _QUARANTINED)] = np.nan
    return Fates(fate, columns["position"], new_label, flagged, decided, weight)


def _columns(run: Run, options: Options) -> dict[str, np.ndarray]:
    """The columns of the scores that are needed; on disk where they are long."""
    kinds: dict[str, Any] = {"flagged": np.bool_, "position": np.int64}
    if options.budget is not None:
        kinds["rank"] = np.int64
    if options.weights:
        if "given_label_probability" not in run.schema.names:
            raise RunError(
                "the run has no probability of the given labels",
                place="given_label_probability",
                hint="scan again with this version of oga",
            )
        kinds["given_label_probability"] = run.schema.field("given_label_probability").type.to_pandas_dtype()
    told = {"ok": np.bool_}
    for name in options.left_out:
        if name not in run.schema.names:
            raise RunError(**_NOT_LOOKED_FOR[name])
        told["left_out"] = np.bool_
    run.check_fits()
    found = {name: column(run.summary.samples, kind) for name, kind in (kinds | told).items()}
    start = 0
    for batch in run.batches([*kinds, "status", *options.left_out]):
        rows = slice(start, start + len(batch))
        start = rows.stop
        found["ok"][rows] = unpacked(pc.equal(batch["status"], value(OK)))
        for name in options.left_out:
            found["left_out"][rows] |= unpacked(batch[name].is_valid())
        for name in kinds:
            found[name][rows] = _array(batch[name])
        release()
    return found


def _array(column: pa.Array) -> np.ndarray:
    """Numbers or booleans; a missing number is NaN, or 0 among whole numbers."""
    if column.null_count:
        missing = np.nan if pa.types.is_floating(column.type) else 0
        column = pc.fill_null(column, value(missing).cast(column.type))
    return unpacked(column)


def _check_classes(run: Run, options: Options) -> None:
    """Refuse labels that are not one class each, masks and boxes, and both actions at once."""
    if options.relabel and options.weights:
        raise ConfigError(
            "either relabel or weight the samples", place="--weights", found="--relabel as well"
        )
    name = "--relabel" if options.relabel else "--weights"
    if options.relabel and (found := pixels_or_boxes(run)):
        raise ConfigError(
            f"{found} are not relabelled",
            place=name,
            expected="pictures that are kept or dropped, also by --decisions",
            hint=f"issues.parquet of the run has what is suggested; correct {found} in your annotation tool",
        )
    if not has_one_class(run) and not (options.relabel and run.summary.cells):
        judged = "; for several classes or numbers, scan by a detector that judges each of them"
        raise ConfigError(
            "the samples do not have one class each",
            place=name,
            hint=f"leave {name} out to trim them{judged if options.relabel else ''}",
        )


def has_one_class(run: Run) -> bool:
    """Whether each sample has exactly one class."""
    return label_kind(run) == "class"


def _relabelled(run: Run, fate: Int8[np.ndarray, " n"], position: Int64[np.ndarray, " n"]) -> dict[int, str]:
    """The new label of each dropped row for which the suggestion is probable enough."""
    bound = Relabel.given(run.config.get("relabel"), "relabel")
    if run.summary.cells:
        dropped = (fate == _DROPPED).nonzero()[0]
        rows_at = dict(zip(position[dropped].tolist(), dropped.tolist(), strict=True))
        return _with_cells(run, bound.above, rows_at)
    classes = texts([one.name for one in run.summary.classes])
    found: dict[int, str] = {}
    start = 0
    for batch in run.batches(["suggested_label", "confidence"]):
        names = batch.column("suggested_label").cast(pa.string())
        confidence = _array(batch.column("confidence")).astype(float)
        confidence[~_array(pc.is_in(names, value_set=classes))] = np.nan
        rows = bound.relabelled(fate[start : start + len(batch)] == _DROPPED, confidence).nonzero()[0]
        found |= dict(zip((rows + start).tolist(), names.take(numbers(rows)).to_pylist(), strict=True))
        start += len(batch)
    return found


def _with_cells(run: Run, above: float, rows: Mapping[int, int]) -> dict[int, str]:
    """The labels of some samples with the cells replaced that are wrong with a higher probability.

    Args:
        run: The run.
        above: The bound.
        rows: By position in the source the rows of these samples.
    """
    cells: dict[int, dict[int, Any]] = {}
    for part in issues_of(run, max(above, DOUBTFUL)):
        places = zip(part["position"].to_pylist(), part["index"].to_pylist(), strict=True)
        for (position, index), new in zip(places, part["suggested"].to_pylist(), strict=True):
            if position in rows:
                cells.setdefault(rows[position], {})[index] = new
    names, in_turn = [one.name for one in run.summary.classes], label_kind(run) in ("numbers", "tags")
    found: dict[int, str] = {}
    start = 0
    for batch in run.batches(["label"]):
        here = [row for row in cells if start <= row < start + len(batch)]
        given = batch["label"].take(numbers(np.array([row - start for row in here], np.int64))).to_pylist()
        for row, label in zip(here, given, strict=True):
            judged = cells[row]
            if in_turn:
                old = label if isinstance(label, list) else [label]
                changed: list[Any] = [judged.get(i, one) for i, one in enumerate(old)]
            else:
                changed = [name for i, name in enumerate(names) if judged.get(i, name in label)]
            found[row] = label_text(changed) or ""
        start += len(batch)
    return found


def _flagged(run: Run, budget: Budget, rank: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The flags of another budget; classes are protected as in the scan.

    Raises:
        ConfigError: The budget is ``benefit``, and the run did not try out how much.
    """
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
    scored, estimate = run.summary.scored, run.summary.estimate
    count = budget.count(scored, estimate.count(scored) if estimate else 0)
    flagged: Bool[np.ndarray, " n"] = (rank > 0) & (rank <= count)
    if not has_one_class(run):
        return flagged
    parts = [batch.column("label").dictionary_encode() for batch in run.batches(["label"])]
    classes = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
    index = (classes if isinstance(classes, pa.Array) else pa.concat_arrays(classes.chunks)).indices
    return protected(flagged, rank, index.to_numpy(), parse_protect(run.config.get("protect", "off")))
