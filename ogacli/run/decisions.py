"""What people decided on samples of a run: keep, drop, or give another label.

In: the file that ``oga review`` exports, or a table that somebody wrote. Out: ``Decisions``, checked against
the run. The document is

    {"schema_version": 1, "run": "runs/cats", "decisions": [{"id": "7", "action": "relabel", "label": "dog"}]}

``run`` says where the decisions were made; it is not compared, as decisions on a sample hold for later scans
of the same data too. A table (csv, tsv, jsonl, parquet) has the columns ``id``, ``action`` and ``label``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from ogacli.base.documents.json_document import read_json
from ogacli.base.tables import check_columns, read_table
from ogacli.base.wording import listed, suggestion
from ogacli.errors import DataError, OgaError, collecting
from ogacli.run.directory import Run
from ogacli.run.label_kind import SEPARATOR, label_kind, label_text, parts_of

SCHEMA_VERSION = 1
Action = Literal["keep", "drop", "relabel"]
ACTIONS: tuple[Action, ...] = get_args(Action)
"""What can be decided on a sample."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided on one sample."""

    id: str
    action: Action
    label: str | None = None
    """For ``relabel``: the new label, by default the suggested one. Names of several classes, and numbers of
    several targets, have ``|`` between them; an empty text means no class."""

    def plain(self) -> dict[str, str]:
        """The decision as it stands in a document."""
        return {"id": self.id, "action": self.action} | ({} if self.label is None else {"label": self.label})


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions on samples of a run, with a new label wherever there is one to give."""

    rows: Int64[np.ndarray, " d"]
    """The rows of the run that were decided on, ascending, each once."""
    decided: tuple[Decision, ...]
    """The decision on each."""


def document(run: Run, decisions: Iterable[Decision]) -> dict[str, Any]:
    """The document that ``oga trim --decisions`` reads."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": str(run.path),
        "decisions": [one.plain() for one in decisions],
    }


def read_decisions(path: str | Path, run: Run) -> Decisions:
    """The decisions in a file.

    Args:
        path: A ``.json`` document, or a csv, tsv, jsonl or parquet table.
        run: The run of the samples.

    Raises:
        DataError: The file is none of these, or decisions in it are wrong: all of them are listed.
    """
    problems: list[OgaError] = []
    given: dict[str, tuple[Decision, str]] = {}
    for values, place in _entries(path):
        with collecting(problems):
            decision = _decision(values, place)
            before = given.setdefault(decision.id, (decision, place))
            if before[0] != decision:
                raise DataError(
                    "two decisions on one sample",
                    place=place,
                    found=f"{_shown(decision)}, but {_shown(before[0])} in {before[1]}",
                    hint="leave one of them",
                )
    found = _in_run(run, given)
    decided: dict[int, Decision] = {}
    checked = _Labels(run)
    for name, (decision, place) in given.items():
        with collecting(problems):
            if name not in found:
                raise DataError("not a sample of the run", place=place, expected=f"an id of {run.path}")
            row, suggested, parts = found[name]
            decided[row] = checked.labelled(decision, suggested, parts, place)
    if problems:
        raise DataError.all_of(problems)
    rows = sorted(decided)
    return Decisions(np.array(rows, dtype=np.int64), tuple(decided[row] for row in rows))


def _shown(decision: Decision) -> str:
    return " ".join(text for text in (decision.action, decision.label) if text)


def _entries(path: str | Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The values of each decision, and its place.

    Raises:
        DataError: The file is no document and no table of decisions.
    """
    if Path(path).suffix.lower() != ".json":
        table = read_table(path, text=("id", "action", "label"))
        check_columns(table, ("id", "action"), path, "id, action and, where an action is relabel, label")
        for number, row in enumerate(table.to_pylist(), 1):
            yield row, f"{path}: row {number}: sample {row['id']!r}"
        return
    for number, entry in enumerate(_listed(path)):
        place = f"{path}: decisions[{number}]"
        if not isinstance(entry, dict):
            raise DataError("not a decision", place=place, found=repr(entry), expected="id, action and label")
        yield entry, f"{place}: sample {entry.get('id')!r}"


def _listed(path: str | Path) -> list[Any]:
    """The list ``decisions`` of a document."""
    try:
        found = read_json(path, DataError)
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), hint="check the path") from None
    entries = found.get("decisions") if isinstance(found, dict) else None
    version = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(entries, list) or version != SCHEMA_VERSION:
        raise DataError(
            "not a document of decisions",
            place=str(path),
            found=f"schema version {version}" if isinstance(entries, list) else "no list `decisions`",
            expected=f"what `oga review` exports, of schema version {SCHEMA_VERSION}",
        )
    return entries


def _decision(values: Mapping[str, Any], place: str) -> Decision:
    """One decision of the right form."""
    name, action, label = (values.get(key) for key in ("id", "action", "label"))
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str):
        raise DataError("no id of a sample", place=place, found=repr(name), expected="a text")
    if action not in ACTIONS:
        near = suggestion(action, ACTIONS) if isinstance(action, str) else ""
        expected = f"one of {', '.join(ACTIONS)}"
        raise DataError(f"not an action{near}", place=place, found=repr(action), expected=expected)
    parts = label if isinstance(label, list) else [] if label is None else [label]
    if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in parts):
        expected = "the name of a class, a number, or a list of either"
        raise DataError("not a label", place=place, found=repr(label), expected=expected)
    written = None if label is None else SEPARATOR.join(map(str, parts))
    return Decision(name, action, written if action == "relabel" else None)


def _in_run(run: Run, wanted: Mapping[str, object]) -> dict[str, tuple[int, str | None, int | None]]:
    """The row of each id that the run has, its suggested label, and of how many parts its label consists."""
    names = pa.array(list(wanted), pa.string())
    found: dict[str, tuple[int, str | None, int | None]] = {}
    start = 0
    for part in run.batches(["id", "label", "suggested_label"]):
        ids = part.column("id").cast(pa.string())
        rows = pc.is_in(ids, value_set=names).to_numpy(zero_copy_only=False).nonzero()[0]
        for row in rows.tolist():
            given, suggested = (part.column(name)[row].as_py() for name in ("label", "suggested_label"))
            parts = len(given) if isinstance(given, list) else None
            found[ids[row].as_py()] = start + row, label_text(suggested), parts
        start += len(part)
    return found


class _Labels:
    """The labels that samples of a run can be given."""

    def __init__(self, run: Run) -> None:
        self.classes = frozenset(one.name for one in run.summary.classes)
        self.kind = label_kind(run)
        self.targets = _targets(run) if self.kind == "numbers" else 0

    def labelled(self, decision: Decision, suggested: str | None, parts: int | None, place: str) -> Decision:
        """The decision with its new label.

        Args:
            decision: The decision.
            suggested: The label that the scan suggests.
            parts: Of how many parts the given label consists; None where it is no list, or unknown.
            place: Of the decision in its file.

        Raises:
            DataError: There is none, or it is none that samples of the run can have.
        """
        if decision.action != "relabel":
            return decision
        if self.kind is None:
            raise DataError("samples of this run cannot be relabelled", place=place, hint="drop or keep it")
        none = decision.label is None or (not decision.label and self.kind != "classes")
        label = suggested if none else decision.label
        if label is None:
            expected = f"{'a number' if self.kind == 'numbers' else 'a class name'} as `label`"
            raise DataError("no new label", place=place, expected=expected)
        if self.kind == "numbers":
            self._check_numbers(label, place)
        else:
            self._check_classes(label, place)
        if self.kind == "tags" and parts is not None and len(parts_of(label)) != parts:
            found, expected = f"{len(parts_of(label))} tags", f"{parts}, one for each word"
            raise DataError(
                "another number of new tags than of words", place=place, found=found, expected=expected
            )
        return Decision(decision.id, "relabel", label)

    def _check_classes(self, label: str, place: str) -> None:
        parts = [label] if self.kind == "class" else parts_of(label)
        if unknown := [one for one in parts if one not in self.classes]:
            near = suggestion(unknown[0], sorted(self.classes))
            expected = f"one of {listed(sorted(self.classes), 12)}"
            raise DataError(f"unknown class{near}", place=place, found=repr(unknown[0]), expected=expected)

    def _check_numbers(self, label: str, place: str) -> None:
        parts = label.split(SEPARATOR)
        if len(parts) != self.targets or not all(map(_is_number, parts)):
            expected = "a number" if self.targets == 1 else f"{self.targets} numbers with | between them"
            raise DataError("not a target", place=place, found=repr(label), expected=expected)


def _targets(run: Run) -> int:
    """How many numbers a label is."""
    first = next(iter(run.batches(["label"])))["label"][0].as_py()
    return len(first) if isinstance(first, list) else 1


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
