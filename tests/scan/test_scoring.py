"""Batches that wait on a device to be scored together: the scores of the CPU, also after an interruption."""

from importlib import import_module
from typing import Any

import pytest
import torch

from device_scans import pictures, same
from gradient_batches import head_batch
from interruptions import whole_and_resumed
from ogacli.gradients.joining import joinable, joined
from ogacli.gradients.kept import kept
from ogacli.scan.collected.collect import Collector
from ogacli.scan.scorers import Scorers
from small_networks import Pictures
from small_scans import make_place


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each forward pass is a read, and two reads wait to be scored together."""
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_INPUT_BYTES_ELSEWHERE", 1)
    monkeypatch.setattr(import_module("ogacli.scan.scoring"), "_READS", 2)


@pytest.mark.parametrize("reduced", [False, True])
def test_joined_batches_are_those_of_one_batch(reduced: bool) -> None:
    coords = torch.tensor([0, 5, 17])
    whole = head_batch(20, k=3, h=8)
    if reduced:
        whole = kept(whole, [1, 2], coords)
    parts = [whole.select(rows) for rows in torch.arange(20).split(7)]
    assert all(map(joinable, parts))
    found = joined(parts)
    assert torch.equal(found.rows, whole.rows)
    assert torch.equal(found.labels, whole.labels)
    assert torch.equal(found.losses, whole.losses)
    assert torch.equal(found.features, whole.features)
    assert torch.equal(found.entries(coords), whole.entries(coords))
    for order in (1, 2):
        assert torch.equal(found.norm(order), whole.norm(order))


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("held", [0, 256 << 20])
def test_scores_are_those_of_the_cpu(
    layers: str, held: int, pairs: None, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", held)
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_KEPT_BYTES", held)
    sizes, add = [], Collector.add

    def noted(self: Collector, batch: Any, *given: Any) -> None:
        if batch.residual.device == device:
            sizes.append(len(batch))
        add(self, batch, *given)

    monkeypatch.setattr(Collector, "add", noted)
    several = ["latent_label", "l2", "isolation_forest"]
    same(pictures(), Pictures, device, layers=layers, detector=several, batch_size=5, fold=False)
    assert max(sizes) == (5 if layers == "all" and held else 10), "factors of all layers do not wait"


@pytest.mark.parametrize("call", [3, 4])
def test_an_interrupted_scan_goes_on_with_the_same_batches(
    call: int, pairs: None, counts: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wait at the interruption are computed again."""
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    place = make_place(tmp_path, detector="l2")
    config = place.config("gradients.batch_size=10", "gradients.device=standin")
    whole_and_resumed(place, config, monkeypatch, Collector, "add", call)


def test_how_many_samples_fit_is_remembered(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen reads of 5 do not fit; once 20 samples did, no more are tried."""
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_INPUT_BYTES_ELSEWHERE", 1)
    score, tried = Scorers.score, list[int]()

    def full(self: Scorers, batch: Any) -> Any:
        if batch.residual.device == device:
            tried.append(len(batch))
            if len(batch) > 20:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return score(self, batch)

    monkeypatch.setattr(Scorers, "score", full)
    same(pictures(170), Pictures, device, detector="l2", batch_size=5, fold=False)
    assert tried[:2] == [80, 40]
    assert set(tried[2:]) <= {10, 20}
    assert tried.count(20) == 8, "150 more samples do not try larger ones"
