"""What a scan holds in memory, and how often it computes, while batches stream by."""

import gc
import weakref
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ogacli.config.commands import scan, train
from ogacli.detectors.isolation_forest import Isolation
from ogacli.gradients import GradientBatch, HeadGradients
from ogacli.models.sources import ModelSource
from small_scans import Place, make_place

FOREST = {"name": "isolation_forest", "trees": 10, "subsample": 16}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


def scanned(place: Place, name: str, *overrides: str) -> Any:
    return scan(place.config("gradients.batch_size=16", *overrides), output=place.folder / name)


@pytest.mark.parametrize("override", ["gradients.residual=neighbours", "gradients.precision=bfloat16"])
def test_a_batch_is_gone_before_the_next_one_is_computed(place, monkeypatch, override):
    compute, known, alive = HeadGradients.__call__, [], []

    def computed(self: HeadGradients, batch: Any) -> GradientBatch:
        alive.append(sum(ref() is not None for ref in known))
        found = compute(self, batch)
        known.append(weakref.ref(found.residual))
        return found

    monkeypatch.setattr(HeadGradients, "__call__", computed)
    scanned(place, "out", override)
    assert len(alive) > 8
    assert not any(alive)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_one_set_of_weights_is_in_memory(place, monkeypatch, layers):
    train(place.config("train={epochs: 3, batch_size: 16}", f"train.output={place.folder}/epochs"))
    load, known, alive = ModelSource.open, [], []

    def opened(self: ModelSource, *arguments: Any) -> Any:
        alive.append(sum(ref() is not None for ref in known))
        found = load(self, *arguments)
        known.append(weakref.ref(found))
        return found

    monkeypatch.setattr(ModelSource, "open", opened)
    checkpoints = f"model.checkpoint={place.folder}/epochs/epoch-*.safetensors"
    gc.disable()
    try:
        scanned(place, "out", checkpoints, f"gradients.layers={layers}")
    finally:
        gc.enable()
    assert alive == [0, 0, 0], "freed without the garbage collector"


def test_what_detectors_need_is_found_once_and_not_for_each_batch(place, monkeypatch):
    """On a GPU it would stall each batch; and it is asked only after the sizes of all fits are known."""
    place.write_config(detector=["l2", FOREST, FOREST | {"seed": 1}])
    calls: list[str] = []
    fit_size, needs = Isolation.fit_size, Isolation.needs
    monkeypatch.setattr(Isolation, "fit_size", lambda *a: calls.append("fit_size") or fit_size(*a))
    monkeypatch.setattr(Isolation, "needs", lambda *a: calls.append("needs") or needs(*a))
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    scanned(place, "few", "gradients.batch_size=60")
    assert calls[:2] == ["fit_size", "fit_size"]
    few = len(calls)
    calls.clear()
    scanned(place, "many", "gradients.batch_size=4")
    assert len(calls) == few


def test_norms_of_all_layers_are_computed_for_those_that_look_at_all(place, monkeypatch):
    """Two norms of different layers do not make the scan compute both of all layers."""
    asked: list[tuple[int, Any]] = []
    norms = GradientBatch.norms

    def of(self: GradientBatch, orders: Any) -> dict[int, Tensor]:
        asked.append((len(self.parts), tuple(orders)))
        return norms(self, orders)

    monkeypatch.setattr(GradientBatch, "norms", of)
    restricted = [{"name": "l1", "layers": ["hidden1.*"]}, {"name": "l2", "layers": "head"}]
    place.write_config(detector=restricted, gradients={"layers": "all"})
    scanned(place, "some")
    assert set(asked) == {(2, (1,)), (2, (2,))}
    asked.clear()
    place.write_config(detector=["l1", "l2"], gradients={"layers": "all"})
    scanned(place, "all")
    assert (4, (1, 2)) in asked


def test_a_batch_without_a_finite_sample_is_not_held(place, monkeypatch):
    place.write_config(detector=FOREST)
    x = place.arrays["x"]
    x[:] = torch.inf
    x[::7] = 1.0
    place.write(x=x)
    sizes: list[int] = []
    score = Isolation.score

    def scored(self: Isolation, batch: GradientBatch) -> Tensor:
        sizes.append(len(batch))
        return score(self, batch)

    monkeypatch.setattr(Isolation, "score", scored)
    run = scanned(place, "out", "gradients.batch_size=1")
    assert run.summary.scored == len(x[::7])
    assert 0 not in sizes
