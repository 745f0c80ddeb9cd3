"""The report of ``oga attribute``: each query beside its most related training samples or groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ogacli.base import wording
from ogacli.run.reports.content import ID_LENGTH
from ogacli.run.reports.page import page, part
from ogacli.run.reports.pictures import Shown, look

if TYPE_CHECKING:
    from ogacli.scan.attribution.result import Attribution

_QUERIES, _BESIDE, _TEXT = 100, 3, 600


@dataclass(frozen=True, slots=True)
class Entry:
    """A training sample or group beside a query."""

    name: str
    score: float
    rank: int
    related: bool | None
    shown: Shown


@dataclass(frozen=True, slots=True)
class Query:
    """A query and its most related training samples or groups."""

    name: str
    shown: Shown
    entries: tuple[Entry, ...]


def render(found: "Attribution", table: pa.Table, previews: pa.Table) -> str:
    """The page; the same attributions give the same bytes."""
    queries = _queries(table, previews)
    style = part("report.css")
    return page("ogacli.scan.attribution", "attributions.html.j2", found=found, queries=queries, style=style)


def _queries(table: pa.Table, previews: pa.Table) -> tuple[Query, ...]:
    looks = {
        (row["side"], row["name"]): look(row["kind"], row["content"], _TEXT) for row in previews.to_pylist()
    }
    names = table["query"].unique().to_pylist()[:_QUERIES]
    rows: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for row in table.filter(pa.compute.less_equal(table["rank"], _BESIDE)).to_pylist():
        if row["query"] in rows:
            rows[row["query"]].append(row)
    return tuple(
        Query(
            wording.cut(name, ID_LENGTH),
            looks.get(("query", name), Shown()),
            tuple(_entry(row, looks) for row in rows[name]),
        )
        for name in names
    )


def _entry(row: Mapping[str, Any], looks: Mapping[tuple[str, str], Shown]) -> Entry:
    name = row["group"] if "group" in row else row["training"]
    return Entry(
        name=wording.cut(name, ID_LENGTH),
        score=row["score"],
        rank=row["rank"],
        related=row.get("related"),
        shown=looks.get(("training", name), Shown()),
    )
