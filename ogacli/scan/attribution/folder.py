"""The folder that ``oga attribute`` writes, whole or not at all.

attributions.parquet  a row a query and training sample or group: score and rank, 1 = most related
summary.json          the result in figures
previews.parquet      pictures or texts of queries and of the training samples beside them
config.yaml           the config as resolved
report.html           the result as a page
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch
import yaml
from jaxtyping import Bool
from torch import Tensor

from ogacli.base.atomic import holds_only
from ogacli.base.documents.json_document import read_json
from ogacli.base.tables.parquet_file import open_parquet
from ogacli.data import Samples, Unreadable
from ogacli.errors import RunError
from ogacli.scan.attribution.relation import Relation
from ogacli.scan.attribution.report import render
from ogacli.scan.attribution.result import SCHEMA_VERSION, Attribution

_FILES = ("attributions.parquet", "summary.json", "previews.parquet", "config.yaml", "report.html")
_SHOWN_QUERIES, _SHOWN_EACH = 100, 3
"""Queries with a preview, and training samples beside each of them."""


def is_attribution(folder: Path) -> bool:
    """Whether a folder is one that ``oga attribute`` wrote, and holds nothing else.

    The marks are the schema version and the fingerprints in its summary, and the columns of its table.
    """
    if not holds_only(folder, _FILES):
        return False
    try:
        document = read_json(folder / "summary.json", RunError)
        table = folder / "attributions.parquet"
        with open_parquet(table, str(table), RunError) as file:
            columns = file.schema_arrow.names
    except (OSError, RunError):
        return False
    return (
        isinstance(document, dict)
        and document.get("schema_version") == SCHEMA_VERSION
        and set(document.get("fingerprints") or ()) == {"training", "queries"}
        and {"query", "score", "rank"} <= set(columns)
    )


def write_attribution(
    folder: Path,
    found: Attribution,
    relation: Relation,
    training: Samples,
    queries: Samples,
    *,
    top: int,
    settings: Mapping[str, Any],
) -> None:
    """Fill an empty folder.

    Args:
        folder: Empty.
        found: The figures.
        relation: The scores.
        training: The training samples.
        queries: The queries.
        top: Training samples that are listed of each query.
        settings: All options as plain values.
    """
    table = attribution_table(relation, training, queries, top)
    previews = _previews(relation, training, queries)
    pa.parquet.write_table(table, folder / "attributions.parquet")
    pa.parquet.write_table(previews, folder / "previews.parquet")
    document = found.document()
    del document["folder"]
    document["fingerprints"] = {"training": training.fingerprint, "queries": queries.fingerprint}
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    resolved = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(resolved, encoding="utf-8")
    (folder / "report.html").write_text(render(found, table, previews), encoding="utf-8")


def attribution_table(relation: Relation, training: Samples, queries: Samples, top: int) -> pa.Table:
    """A row a query and training sample or group, the most related ones first."""
    scores, order = relation.ranked(top)
    first, *others = scores
    known = ~scores[first].gather(1, order).isnan()
    query = torch.arange(len(queries))[:, None].expand_as(order)[known]
    chosen = order[known]
    rank = (1 + torch.arange(order.shape[1])).expand_as(order)[known]
    names = pa.array(relation.groups, pa.string()) if relation.groups else training.ids
    columns: dict[str, pa.Array] = {
        "query": queries.ids.take(pa.array(query.numpy())),
        "group" if relation.groups else "training": names.take(pa.array(chosen.numpy())),
        "score": pa.array(scores[first][query, chosen].numpy()),
        "rank": pa.array(rank.numpy()),
    }
    for name in others:
        columns[f"score_{name}"] = pa.array(scores[name][query, chosen].numpy())
    if relation.related is not None:
        columns["related"] = pa.array(_truly(relation)[query, chosen].numpy())
    return pa.table(columns)


def _truly(relation: Relation) -> Bool[Tensor, "q m"]:
    """Which samples are related, or which groups have a related sample."""
    assert relation.related is not None
    if not relation.groups:
        return relation.related
    members = [relation.group_of == g for g in range(len(relation.groups))]
    return torch.stack([relation.related[:, here].any(1) for here in members], 1)


def _previews(relation: Relation, training: Samples, queries: Samples) -> pa.Table:
    """Previews of the first queries and of the samples, or first samples of groups, most related to each."""
    _, order = relation.ranked(_SHOWN_EACH)
    order = order[:_SHOWN_QUERIES, :_SHOWN_EACH]
    beside = order.unique()
    if relation.groups:
        firsts = [int((relation.group_of == g).nonzero()[0, 0]) for g in beside.tolist()]
        names = [relation.groups[g] for g in beside.tolist()]
    else:
        firsts = beside.tolist()
        names = training.ids.take(pa.array(beside.numpy())).to_pylist()
    shown = list(range(min(_SHOWN_QUERIES, len(queries))))
    rows = [
        *_looks("query", queries, shown, queries.ids[: len(shown)].to_pylist()),
        *_looks("training", training, firsts, names),
    ]
    schema = pa.schema(
        [("side", pa.string()), ("name", pa.string()), ("kind", pa.string()), ("content", pa.binary())]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _looks(side: str, samples: Samples, rows: list[int], names: list[str]) -> Iterator[dict[str, Any]]:
    for row, name in zip(rows, names, strict=True):
        try:
            preview = samples.reader.preview(int(samples.positions[row]))
        except Unreadable:
            continue
        yield {"side": side, "name": name, "kind": preview.kind, "content": preview.content}
