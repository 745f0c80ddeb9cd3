"""Batch sizes, memory that runs out, and the second look in float32."""

import weakref
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from ogacli.config import parse_config
from ogacli.config.commands import plan, scan
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.head import HeadGradients
from ogacli.run.directory import Run
from ogacli.scan.scoring import Scoring
from small_scans import WIDTH, N, Place, make_place

ALL = "gradients.layers=all"


@pytest.fixture
def place(tmp_path) -> Place:
    return make_place(tmp_path, detector=[{"name": "l2"}, {"name": "isolation_forest", "subsample": 32}])


def scanned(place: Place, name: str, *overrides: str) -> Run:
    return scan(place.config(*overrides), output=place.folder / name)


def both(run: Run) -> np.ndarray:
    return np.stack([run.scores["score"].to_numpy(), run.scores["score_isolation_forest"].to_numpy()])


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("words", [None, "DefaultCPUAllocator: can't allocate memory: you tried"])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(place, monkeypatch, layers, words):
    whole = scanned(place, "whole", f"gradients.layers={layers}")
    room = (
        "ogacli.gradients.head.HeadGradients"
        if layers == "head"
        else "ogacli.gradients.capture.LayerGradients"
    )
    module, _, name = room.rpartition(".")
    import importlib

    cls = getattr(importlib.import_module(module), name)
    compute, sizes = cls.__call__, []

    def tight(self: Any, batch: Any) -> GradientBatch:
        if len(batch.rows) > 20:
            raise torch.OutOfMemoryError("full") if words is None else RuntimeError(words)
        sizes.append(len(batch.rows))
        return compute(self, batch)

    monkeypatch.setattr(cls, "__call__", tight)
    found = scanned(place, "tight", f"gradients.layers={layers}")
    assert max(sizes) <= 20
    assert found.summary.scored == N
    np.testing.assert_allclose(both(found), both(whole), rtol=1e-5)


def test_memory_that_runs_out_while_scoring(place, monkeypatch):
    whole = scanned(place, "whole")
    norms = GradientBatch.norms

    def tight(self: GradientBatch, orders: Any) -> Any:
        if len(self) > 50:
            raise torch.OutOfMemoryError("full")
        return norms(self, orders)

    monkeypatch.setattr(GradientBatch, "norms", tight)
    found = scanned(place, "tight", "gradients.batch_size=60")
    np.testing.assert_allclose(both(found), both(whole), rtol=1e-5)


def test_one_sample_that_does_not_fit(place, monkeypatch):
    def full(self: Any, batch: Any) -> GradientBatch:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(HeadGradients, "__call__", full)
    with pytest.raises(GradientError, match="a single sample does not fit in memory"):
        scanned(place, "out")
    assert not (place.folder / "out").exists()


def test_other_runtime_errors_are_not_taken_for_it(place, monkeypatch):
    def broken(self: Any, batch: Any) -> GradientBatch:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(HeadGradients, "__call__", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        scanned(place, "out")


def test_the_automatic_batch_size_minds_the_widest_layer(place, monkeypatch):
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_WIDEST_BYTES", 21 * WIDTH * 4)
    assert plan(place.config()).batch_size == 21
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_WIDEST_BYTES", 1)
    assert plan(place.config()).batch_size == 4


def test_several_passes_through_the_network_are_one_batch(place, monkeypatch):
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_WIDEST_BYTES", 21 * WIDTH * 4)
    scored = Scoring.score
    sizes: list[int] = []

    def seen(self: Scoring, batch: GradientBatch, *more: Any) -> None:
        sizes.append(len(batch))
        scored(self, batch, *more)

    monkeypatch.setattr(Scoring, "score", seen)
    joined = scanned(place, "joined", "detector=l2")
    assert sizes[0] > 21
    single = scanned(place, "single", "detector=l2", "gradients.batch_size=21")
    assert joined.provenance["batch_size"] == single.provenance["batch_size"] == 21
    expected = single.scores["score"].to_numpy()
    np.testing.assert_allclose(joined.scores["score"].to_numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("detector", ["l2", "{name: isolation_forest, subsample: 100}"])
def test_a_batch_is_gone_before_the_next_one_is_computed(place, monkeypatch, detector):
    compute, made, alive = LayerGradients.__call__, [], []

    def seen(self: LayerGradients, batch: Any) -> GradientBatch:
        alive.append(sum(one() is not None for one in made))
        found = compute(self, batch)
        made.append(weakref.ref(found.residual))
        return found

    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_KEPT_BYTES", 0)
    monkeypatch.setattr(LayerGradients, "__call__", seen)
    scanned(place, "out", ALL, "gradients.batch_size=30", f"detector={detector}")
    assert len(made) >= N // 30
    assert set(alive[1:]) == {0}


def test_the_automatic_batch_size_minds_the_factors_of_all_layers(place, monkeypatch):
    head, everything = plan(place.config()).batch_size, plan(place.config(ALL)).batch_size
    assert everything <= head
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_FACTOR_BYTES", 1 << 11)
    small = plan(place.config(ALL)).batch_size
    assert 1 <= small < everything
    assert scanned(place, "out", ALL).provenance["batch_size"] == small


@pytest.mark.parametrize("layers", ["head", "all"])
def test_bfloat16_decides_as_float32_where_it_matters(place, layers):
    exact = scanned(place, "exact", f"gradients.layers={layers}")
    found = scanned(place, "half", f"gradients.layers={layers}", "gradients.precision=bfloat16")
    again = found.summary.rescored
    assert again is not None
    assert 0 <= again.changed <= again.samples <= N
    assert exact.summary.rescored is None
    assert found.provenance["precision"] == "bfloat16"
    rough = np.abs(both(found)[0] / both(exact)[0] - 1)
    assert 0 < rough.max() < 0.1, "computed in lower precision, but close"
    near = exact.scores["rank"].to_numpy() <= 12
    np.testing.assert_allclose(both(found)[0][near], both(exact)[0][near], rtol=1e-5)
    assert found.scores["flagged"].to_pylist() == exact.scores["flagged"].to_pylist()


def test_looked_up_outputs_of_many_classes_come_in_smaller_batches(tmp_path):
    """So that memory does not grow with the classes; few classes come 16,384 samples at a time."""
    sizes = []
    for k in (10, 30_000):
        z = np.random.default_rng(0).standard_normal((300, k), dtype=np.float32)
        np.save(tmp_path / "z.npy", z)
        np.save(tmp_path / "y.npy", np.arange(300) % 10)
        text = "data: {source: arrays, y: y.npy}\nmodel: {source: precomputed, logits: z.npy}\n"
        config = parse_config(text + f"output: run{k}", base=tmp_path)
        run = scan(config)
        sizes.append(run.provenance["batch_size"])
        assert run.summary.scored == 300
    assert sizes[0] == 16_384
    assert 100 < sizes[1] < 200
