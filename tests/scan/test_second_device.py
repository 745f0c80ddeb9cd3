"""On a machine with two devices everything lies on the one that was asked for.

The other one is torch's current device, where tensors that are made without a number would come to lie.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ogacli
import stand_in
from device_scans import pictures, same
from interruptions import whole_and_resumed
from ogacli.scan.collected.collect import Collector
from small_networks import Pictures
from small_scans import make_place
from small_training import TRAIN, Small, samples

DEFAULT = ["latent_label", "l2", "isolation_forest"]


@pytest.fixture(params=[1, 0])
def name(request: pytest.FixtureRequest, counts: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of a device, while the other one is current; checks afterwards that nothing lay on that."""
    monkeypatch.setattr(stand_in, "_current", [1 - request.param])
    yield f"standin:{request.param}"
    assert counts.tensors[1 - request.param] == 0


def backward(name: str) -> None:
    if name == "standin:1":
        pytest.skip("torch has no backward pass on a second device that is written in Python")


def test_what_lies_on_the_current_device_is_seen(counts: Any) -> None:
    torch.ones(2, device="standin")
    torch.ones(2, device="standin:1")
    assert counts.tensors == {0: 1, 1: 1}
    with pytest.raises(stand_in.MixedDevices, match="both devices"):
        torch.ones(2, device="standin:1") + torch.ones(2, device="standin:0")


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_scan(name: str, layers: str) -> None:
    if layers == "all":
        backward(name)
    same(pictures(), Pictures, name, layers=layers, detector=DEFAULT)


def test_an_interrupted_scan(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved results and states of detectors are read to the device."""
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_INPUT_BYTES_ELSEWHERE", 1)
    monkeypatch.setattr(import_module("ogacli.scan.scoring"), "_READS", 1)
    place = make_place(tmp_path, detector=DEFAULT)
    config = place.config("gradients.batch_size=20", f"gradients.device={name}")
    whole_and_resumed(place, config, monkeypatch, Collector, "add", 3)


def test_folds_that_are_trained(name: str) -> None:
    backward(name)
    run, other = (
        ogacli.scan(samples(), Small, folds=2, train=TRAIN | {"device": one}, device=one, workers=0)
        for one in (name, "cpu")
    )
    np.testing.assert_allclose(run.table()["score"], other.table()["score"], rtol=1e-3, atol=1e-6)


def test_folds_that_are_given(name: str, tmp_path: Path) -> None:
    several = []
    for fold in range(2):
        np.save(tmp_path / f"{fold}.npy", np.arange(60)[fold::2])
        training = ogacli.train(samples(), Small, output=tmp_path / str(fold), options=TRAIN)
        several.append({"checkpoint": str(training.checkpoints[-1]), "samples": f"{tmp_path}/{fold}.npy"})
    run, other = (
        ogacli.scan(samples(), Small, checkpoint={"folds": several}, device=one, detector=DEFAULT, workers=0)
        for one in (name, "cpu")
    )
    np.testing.assert_allclose(run.table()["score"], other.table()["score"], rtol=1e-4, atol=1e-6)
