"""``oga diff``: what changed from one run to another, sample by sample.

In: two runs, of the same or of different data. Out: the ids that became flagged, are no longer flagged, are
new, changed or gone, and counts by given label. No score is compared, as another checkpoint moves them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base import markdown
from ogacli.base.wording import number
from ogacli.run.directory import Run

SCHEMA_VERSION = 1
Kind = Literal[
    "became_flagged", "no_longer_flagged", "new", "new_flagged", "changed", "changed_flagged", "gone"
]
"""``became_flagged`` and ``no_longer_flagged`` are of samples that are the same in both runs."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_CASES: tuple[Kind, ...] = (
    "new_flagged",
    "new",
    "changed_flagged",
    "changed",
    "became_flagged",
    "no_longer_flagged",
)
"""Of several that hold, the first is the kind of a sample."""
_COLUMNS = ("id", "label", "flagged", "fingerprint")
_LISTED = 50
"""Samples of one kind in a Markdown table."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sample that is not the same in both runs, or is not flagged in both."""

    id: str
    kind: Kind
    label: str
    """The given label in the later run, or in the earlier one where it is gone."""
    before: str
    """The given label in the earlier run; empty where it is new."""
    reason: str
    """Why it is flagged, in the run that flags it; empty where none does."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one run to another."""

    before: str
    now: str
    samples: tuple[int, int]
    """Of the earlier and the later run."""
    flagged: tuple[int, int]
    by_label: bool
    """Whether some samples have no fingerprint, so that only their labels were compared."""
    changes: tuple[Change, ...]
    """In the order of the later run; those that are gone come last."""

    def of(self, kind: Kind) -> list[Change]:
        """The changes of one kind."""
        return [one for one in self.changes if one.kind == kind]

    @property
    def counts(self) -> dict[str, int]:
        """How many samples there are of each kind."""
        found = Counter(one.kind for one in self.changes)
        return {kind: found[kind] for kind in KINDS}

    @property
    def classes(self) -> dict[str, dict[str, int]]:
        """The same by given label, the label with most changes first."""
        found: dict[str, Counter[str]] = {}
        for one in self.changes:
            found.setdefault(one.label, Counter())[one.kind] += 1
        order = sorted(found, key=lambda name: (-found[name].total(), name))
        return {name: {kind: found[name][kind] for kind in KINDS} for name in order}

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "before": {"run": self.before, "samples": self.samples[0], "flagged": self.flagged[0]},
            "now": {"run": self.now, "samples": self.samples[1], "flagged": self.flagged[1]},
            "compared_by": "label" if self.by_label else "fingerprint",
            "counts": self.counts,
            "classes": self.classes,
            "changes": [
                {name: getattr(one, name) for name in ("id", "kind", "label", "before", "reason")}
                for one in self.changes
            ],
        }

    def markdown(self) -> str:
        """A table by class, and one of the samples of each kind."""
        parts = ["## oga diff", f"{markdown.code(self.before)} -> {markdown.code(self.now)}: {self.headline}"]
        shown = [kind for kind in KINDS if self.counts[kind]]
        if shown:
            rows = [
                [markdown.code(name), *(number(counts[kind]) for kind in shown)]
                for name, counts in self.classes.items()
            ]
            parts.append(markdown.table(["label", *map(told, shown)], rows, numeric=len(shown)))
        for kind in shown:
            some = self.of(kind)
            rows = [
                [markdown.code(text) for text in (one.id, one.label, one.before, one.reason)]
                for one in some[:_LISTED]
            ]
            parts += [f"### {told(kind)}: {number(len(some))}"]
            parts += [markdown.table(["id", "label", "label before", "reason"], rows, numeric=0)]
            if len(some) > _LISTED:
                parts.append(f"and {number(len(some) - _LISTED)} more; `--json` has all")
        return "\n\n".join(parts) + "\n"

    @property
    def headline(self) -> str:
        """Samples and flagged samples before and now."""
        pairs = (("samples", self.samples), ("flagged", self.flagged))
        return ", ".join(f"{number(now)} {noun} (before {number(old)})" for noun, (old, now) in pairs)


def told(kind: str) -> str:
    """A kind in words."""
    return (
        kind.replace("_flagged", ", flagged")
        if kind in ("new_flagged", "changed_flagged")
        else kind.replace("_", " ")
    )


def diff(before: Run | str | Path, now: Run | str | Path) -> Difference:
    """Compare two runs sample by sample.

    Args:
        before: The earlier run, or its folder.
        now: The later one.

    Raises:
        RunError: A run directory cannot be read.
    """
    runs = (Run.open(before), Run.open(now))
    old, new = (_table(run) for run in runs)
    at = pc.index_in(new["id"], value_set=old["id"])
    known = old.take(at)
    same, by_label = _same(known, new)
    kinds = _kinds(new["flagged"], known["flagged"], same)
    changes = [*_changes(new, known, kinds, runs), *_gone(old, new, runs[0])]
    counted = [(len(table), pc.sum(table["flagged"]).as_py() or 0) for table in (old, new)]
    return Difference(
        before=str(runs[0].path),
        now=str(runs[1].path),
        samples=(counted[0][0], counted[1][0]),
        flagged=(counted[0][1], counted[1][1]),
        by_label=by_label,
        changes=tuple(changes),
    )


def _table(run: Run) -> pa.Table:
    """The columns that are compared; labels as text."""
    run.check_fits()
    names = [name for name in _COLUMNS if name in run.schema.names]
    table = pa.Table.from_batches(run.batches(names), pa.schema([run.schema.field(name) for name in names]))
    if "fingerprint" not in names:
        table = table.append_column("fingerprint", pa.nulls(len(table), pa.string()))
    return table.set_column(1, "label", _as_text(table["label"])).combine_chunks()


def _as_text(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_string(labels.type):
        return labels
    if pa.types.is_list(labels.type):
        labels = pc.binary_join(labels.cast(pa.list_(pa.string())), "|")
    return labels.cast(pa.string())


def _same(known: pa.Table, new: pa.Table) -> tuple[pa.Array, bool]:
    """Whether each sample is as in the earlier run; and whether that is known of some by labels alone."""
    by_mark = pc.equal(known["fingerprint"], new["fingerprint"])
    by_label = pc.fill_null(pc.equal(known["label"], new["label"]), False)
    there = pc.is_valid(known["flagged"])
    return pc.coalesce(by_mark, by_label), bool(pc.any(pc.and_(there, pc.is_null(by_mark))).as_py())


def _kinds(flagged: pa.Array, before: pa.Array, same: pa.Array) -> pa.Array:
    """The kind of each sample of the later run; null where nothing changed."""
    here = pc.is_valid(before)
    return pc.case_when(
        pc.make_struct(
            pc.and_(pc.invert(here), flagged),
            pc.invert(here),
            pc.and_(pc.invert(same), flagged),
            pc.invert(same),
            pc.and_(flagged, pc.invert(pc.fill_null(before, False))),
            pc.and_(pc.invert(flagged), pc.fill_null(before, False)),
        ),
        *map(
            pa.scalar,
            ("new_flagged", "new", "changed_flagged", "changed", "became_flagged", "no_longer_flagged"),
        ),
    )


def _changes(new: pa.Table, known: pa.Table, kinds: pa.Array, runs: tuple[Run, Run]) -> Iterator[Change]:
    rows = pc.is_valid(kinds)
    found = zip(
        *(column.filter(rows).to_pylist() for column in (new["id"], kinds, new["label"], known["label"])),
        strict=True,
    )
    listed = list(found)
    now = _reasons(runs[1], [one for one, kind, *_ in listed if kind != "no_longer_flagged"])
    before = _reasons(runs[0], [one for one, kind, *_ in listed if kind == "no_longer_flagged"])
    for one, kind, label, old_label in listed:
        reason = (before if kind == "no_longer_flagged" else now).get(one, "")
        yield Change(one, kind, label or "", old_label or "", reason)


def _gone(old: pa.Table, new: pa.Table, run: Run) -> Iterator[Change]:
    gone = old.filter(pc.invert(pc.is_in(old["id"], value_set=new["id"])))
    reasons = _reasons(run, gone["id"].to_pylist())
    for one, label in zip(gone["id"].to_pylist(), gone["label"].to_pylist(), strict=True):
        yield Change(one, "gone", label or "", label or "", reasons.get(one, ""))


def _reasons(run: Run, ids: Iterable[str]) -> dict[str, str]:
    """Why these samples are flagged; those that are not are left out."""
    wanted = pc.field("flagged") & pc.field("id").isin(pa.array(ids, pa.string()))
    found: dict[str, str] = {}
    for batch in run.batches(["id", "flagged", "reason"]):
        some = pa.table(batch).filter(wanted)
        found.update(zip(some["id"].to_pylist(), some["reason"].to_pylist(), strict=True))
    return found
