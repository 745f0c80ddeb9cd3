"""Attribution against gradients that are written out, on a small network of numbers and on texts."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from command_line import oga
from ogacli.config.commands import attribute
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.scan.attribution.methods import auc_and_recall
from small_scans import K, N, Place, contents, make_place

QUERIES = 7


def make_questions(folder: Path, **sections: Any) -> Place:
    """The small scan, and queries of the same blobs that are labelled right."""
    place = make_place(folder)
    rng = np.random.default_rng(5)
    truth = np.arange(QUERIES) % K
    x = rng.normal(size=(QUERIES, 5)).astype(np.float32)
    x[np.arange(QUERIES), truth] += 3
    np.savez(folder / "queries.npz", x=x, y=truth)
    query = {"source": "arrays", "path": "queries.npz", "x": "x", "y": "y"}
    place.write_config(**({"query": query, "gradients": {"layers": "all"}, "detector": "l2"} | sections))
    return place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_questions(tmp_path)


def exact_gradients(place: Place) -> tuple[Tensor, Tensor]:
    """Of the training samples [n, p] and of the queries [q, p], by one backward pass each."""
    module, _ = place.network()
    found = []
    for name in ("data", "queries"):
        arrays = np.load(place.folder / f"{name}.npz")
        rows = []
        for x, y in zip(arrays["x"], arrays["y"], strict=True):
            loss = F.cross_entropy(module(torch.from_numpy(x)[None]), torch.tensor([y]))
            parts = torch.autograd.grad(loss, list(module.parameters()))
            rows.append(torch.cat([part.flatten() for part in parts]).double())
        found.append(torch.stack(rows))
    return found[0], found[1]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "attributions.parquet").to_pylist()
    return rows


def ranking(scores: Tensor, top: int) -> list[list[str]]:
    return [[str(i) for i in row] for row in scores.argsort(1, descending=True)[:, :top].tolist()]


def listed(folder: Path) -> list[list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows_of(folder):
        found.setdefault(row["query"], []).append(row["training"])
        assert row["rank"] == len(found[row["query"]])
    assert list(found) == [str(i) for i in range(QUERIES)]
    return list(found.values())


def test_the_nearest_by_the_cosine_of_whole_gradients(place):
    training, queries = exact_gradients(place)
    cosines = F.normalize(queries) @ F.normalize(training).T
    found = attribute(place.config())
    assert found.parameters == training.shape[1] <= 1024
    assert listed(found.folder) == ranking(cosines, 20)
    scores = [row["score"] for row in rows_of(found.folder)]
    np.testing.assert_allclose(scores, cosines.sort(1, descending=True).values[:, :20].flatten(), rtol=1e-4)


def test_candidates_of_a_projection_are_compared_exactly(place):
    """With all samples as candidates the projection decides nothing; with few, those on top are exact."""
    training, queries = exact_gradients(place)
    cosines = F.normalize(queries) @ F.normalize(training).T
    options = ["attribute.projection=8", f"attribute.candidates={N}", "attribute.top=30"]
    found = attribute(place.config(*options))
    assert listed(found.folder) == ranking(cosines, 30)
    few = attribute(place.config(*options, "attribute.candidates=10"), overwrite=True)
    for row in rows_of(few.folder):
        if row["rank"] <= 10:
            exact = float(cosines[int(row["query"]), int(row["training"])])
            assert row["score"] == pytest.approx(exact, rel=1e-4)


def test_a_projection_finds_most_of_the_nearest(place):
    training, queries = exact_gradients(place)
    nearest = ranking(F.normalize(queries) @ F.normalize(training).T, 10)
    options = ["attribute.projection=32", "attribute.candidates=40", "attribute.top=10"]
    found = listed(attribute(place.config(*options)).folder)
    shared = [len({*ours} & {*theirs}) for ours, theirs in zip(found, nearest, strict=True)]
    assert sum(shared) >= 0.9 * 10 * QUERIES


def test_gradient_tracing_is_the_inner_product(tmp_path):
    place = make_questions(tmp_path, detector=["gradient_tracing", "datainf"])
    training, queries = exact_gradients(place)
    found = attribute(place.config())
    assert list(found.evaluation) == ["cosine", "gradient_tracing", "datainf"]
    products = queries @ training.T
    for row in rows_of(found.folder):
        expected = float(products[int(row["query"]), int(row["training"])])
        assert row["score_gradient_tracing"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_datainf_is_its_closed_form(tmp_path):
    """Kwon et al. 2024, equation 5: the mean of inverses of rank-one matrices, block by block."""
    place = make_questions(tmp_path, detector={"name": "datainf", "damping": 0.1})
    training, queries = exact_gradients(place)
    module, _ = place.network()
    total = torch.zeros(QUERIES, N, dtype=torch.float64)
    start = 0
    for parameter in module.parameters():
        block = slice(start, start := start + parameter.numel())
        g, v = training[:, block], queries[:, block]
        damping = 0.1 * g.square().sum(1).mean() / g.shape[1]
        inverses = [
            (torch.eye(g.shape[1]) - torch.outer(one, one) / (damping + one @ one)) / damping for one in g
        ]
        total += v @ torch.stack(inverses).mean(0) @ g.T
    found = attribute(place.config())
    for row in rows_of(found.folder):
        expected = float(total[int(row["query"]), int(row["training"])])
        assert row["score_datainf"] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_groups_by_a_detector_fitted_to_each(tmp_path):
    """The group's score is minus what the detector says that saw the group alone."""
    pytest.importorskip("pyod")
    detector = {"name": "pyod", "model": "KNN", "projection": 4096, "options": {"n_neighbors": 3}}
    place = make_questions(tmp_path, detector=detector, attribute={"group": "truth"})
    training, queries = exact_gradients(place)
    truth = torch.from_numpy(place.arrays["truth"])
    distances = torch.stack(
        [torch.cdist(queries, training[truth == g]).sort(1).values[:, 2] for g in range(K)], 1
    )
    found = attribute(place.config())
    assert found.groups == ("0", "1", "2")
    rows = rows_of(found.folder)
    assert len(rows) == QUERIES * K
    for row in rows:
        q, g = int(row["query"]), int(row["group"])
        assert row["score"] == pytest.approx(-float(distances[q, g]), rel=1e-4)
        assert row["rank"] == 1 + int((distances[q] < distances[q, g]).sum())
        assert row["related"] == (q % K == g)


def test_the_forest_finds_the_group_of_most_queries(tmp_path):
    detector = {"name": "isolation_forest", "seed": 1}
    place = make_questions(tmp_path, detector=[detector, "gradient_tracing"], attribute={"group": "truth"})
    place.write(y=place.arrays["truth"])
    found = attribute(place.config())
    assert found.evaluation["isolation_forest"]["recall"] > 0.5
    rows = rows_of(found.folder)
    assert {"score", "score_gradient_tracing"} < set(rows[0])
    again = attribute(place.config(), output=tmp_path / "again")
    assert rows_of(again.folder) == rows


def test_the_mean_influence_of_a_group_s_samples(tmp_path):
    place = make_questions(tmp_path, detector="gradient_tracing", attribute={"group": "label"})
    training, queries = exact_gradients(place)
    products, labels = queries @ training.T, place.arrays["y"]
    for row in rows_of(attribute(place.config()).folder):
        mean = float(products[int(row["query"])][torch.from_numpy(labels == int(row["group"]))].mean())
        assert row["score"] == pytest.approx(mean, rel=1e-4, abs=1e-6)


def test_auc_and_recall_by_hand():
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, torch.nan, 0.0, 2.0]])
    related = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1]]).bool()
    auc, recall = auc_and_recall(scores, related)
    assert auc == pytest.approx((1 + 0.5 + 1) / 3)
    assert recall == pytest.approx((1 + 0.5 + 1) / 3)
    assert auc_and_recall(scores[:1], torch.ones(1, 4).bool()) == (None, None)


def test_what_does_not_depend_on_the_batch_size(tmp_path):
    place = make_questions(tmp_path, detector=["gradient_tracing"])
    one, many = (
        rows_of(attribute(place.config(f"gradients.batch_size={size}"), output=tmp_path / str(size)).folder)
        for size in (1, 64)
    )
    for ours, theirs in zip(one, many, strict=True):
        assert ours["training"] == theirs["training"]
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-5)


def test_unreadable_queries_are_counted_and_left_out(place):
    arrays = dict(np.load(place.folder / "queries.npz"))
    arrays["x"][2] = np.nan
    np.savez(place.folder / "queries.npz", **arrays)
    found = attribute(place.config())
    assert found.quarantined == 1
    assert {row["query"] for row in rows_of(found.folder)} == {"0", "1", "3", "4", "5", "6"}


def test_the_folder_and_the_page(place):
    found = attribute(place.config())
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "attributions.parquet",
        "config.yaml",
        "previews.parquet",
        "report.html",
        "summary.json",
    ]
    summary = json.loads((found.folder / "summary.json").read_text())
    assert summary["schema_version"] == 1
    assert summary["evaluation"]["cosine"]["auc"] > 0.5
    page = (found.folder / "report.html").read_text()
    assert page.count('<article class="query">') == QUERIES
    resolved = yaml.safe_load((found.folder / "config.yaml").read_text())
    assert resolved["query"]["path"] == str(place.folder / "queries.npz")
    assert resolved["attribute"]["top"] == 20


def test_detectors_that_are_not_fitted_are_left_out_of_groups(place):
    found = attribute(place.config("attribute.group=label", "detector=[l2, gaussian, loss]"))
    assert list(found.evaluation) == ["gaussian"]
    assert [note.split(" is ")[0] for note in found.notes if "groups" in note] == ["l2", "loss"]
    assert "l2 is not fitted to samples" in (found.folder / "report.html").read_text()


def test_mistakes_are_told(place, tmp_path):
    def told(error: type[Exception], *overrides: str) -> str:
        with pytest.raises(error) as caught:
            attribute(place.config(*overrides))
        return str(caught.value)

    assert "no queries given" in told(ConfigError, "query=null")
    assert "none can tell groups apart\n  found: l2" in told(ConfigError, "attribute.group=label")
    place.write_config(data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y"})
    assert "the training samples have no such groups" in told(ConfigError, "attribute.group=truth")
    two = f"model.checkpoint=[{tmp_path}/weights.safetensors, {tmp_path}/weights.safetensors]"
    assert "attribution is that of one set of weights\n  found: 2 checkpoints" in told(ConfigError, two)
    assert "the queries have other classes" in told(DataError, "query.classes=[a, b, c]")
    assert not (tmp_path / "run-attributions").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "mine"), ("summary.json", '{"schema_version": 1}'), ("attributions.parquet", "mine")],
)
def test_only_attributions_are_replaced(place, name, content):
    attribute(place.config())
    folder = place.folder / "run-attributions"
    attribute(place.config(), overwrite=True)
    (folder / name).write_text(content)
    before = contents(folder)
    with pytest.raises(RunError, match="something else stands there"):
        attribute(place.config(), overwrite=True)
    assert contents(folder) == before


def test_the_command(place):
    done = oga("attribute", "config.yaml", cwd=place.folder)
    assert done.code == 0, done.err
    assert f"{QUERIES} queries compared with {N} training samples" in done.out
    again = oga("attribute", "config.yaml", cwd=place.folder)
    assert again.code == 2
    assert "already exists" in again.err
    document = json.loads(oga("attribute", "config.yaml", "--overwrite", "--json", cwd=place.folder).out)
    assert document["queries"] == QUERIES


def test_texts_stand_side_by_side(tmp_path, monkeypatch):
    """A language model, its completions grouped by a column that plays no part in the loss."""
    pytest.importorskip("transformers")
    from ogacli.config import load_config
    from small_transformers import sums, write_network, write_rows

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_network(tmp_path / "network", "gpt2")
    write_rows(tmp_path / "rows.jsonl", sums(24))
    write_rows(tmp_path / "asked.jsonl", sums(6))
    columns = {"source": "text", "prompt": "prompt", "completion": "answer", "label": "kind"}
    config = {
        "data": columns | {"path": "rows.jsonl"},
        "query": columns | {"path": "asked.jsonl"},
        "model": {"source": "transformers", "name": "network", "task": "causal_lm"},
        "gradients": {"layers": "all"},
        "detector": {"name": "isolation_forest", "trees": 20},
        "attribute": {"group": "label"},
        "output": "run",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found = attribute(load_config(tmp_path / "config.yaml"))
    assert found.groups == ("count", "double")
    assert found.evaluation["isolation_forest"]["auc"] is not None
    page = (found.folder / "report.html").read_text()
    assert "double bcd:" in page
    assert "bbccdd" in page


def test_gradients_that_do_not_fit_in_memory_are_computed_again(tmp_path, monkeypatch):
    detectors = ["isolation_forest", "gradient_tracing", "datainf"]
    place = make_questions(tmp_path, detector=detectors, attribute={"group": "truth"})
    held = rows_of(attribute(place.config()).folder)
    monkeypatch.setattr(import_module("ogacli.scan.attribution.methods"), "_HELD_BYTES", 0)
    again = rows_of(attribute(place.config(), output=tmp_path / "again").folder)
    for ours, theirs in zip(held, again, strict=True):
        assert ours["group"] == theirs["group"]
        for name in ("score", "score_gradient_tracing", "score_datainf"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6)
