"""Scans on a device: no tensors of the CPU among its own, and the scores of the CPU.

Each test runs on the stand-in of ``stand_in.py``; with ``-m gpu`` on a GPU as well.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ogacli
from device_scans import N, pictures, same, scored
from ogacli.config.commands import plan
from ogacli.data import Samples
from ogacli.detectors import detectors
from ogacli.models.sources.torchscript import TorchScript
from one_by_one import K
from small_masks import Pixels, open_masks
from small_networks import Gated, Lstm, Pictures, Sequences, Tied, UNet, seeded_weights
from small_scans import make_place
from stand_in import Counts


def tokens() -> Samples:
    return Samples.of(np.random.default_rng(0).integers(1, 50, (N, 6)), labels=np.arange(N) % K, classes=K)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_masks(layers: str, device: torch.device, tmp_path: Path) -> None:
    samples = open_masks(tmp_path)
    names = ["latent_mask", "l1", "l2", "loss"]
    same(samples, Pixels, device, layers=layers, detector=names, loss="pixel_cross_entropy")


@pytest.mark.parametrize("against", ["self", "training"])
@pytest.mark.parametrize("name", ["datainf", "lissa", "gradient_tracing"])
def test_influence(name: str, against: str, device: torch.device) -> None:
    same(pictures(), Pictures, device, layers="all", detector={"name": name, "against": against})


@pytest.mark.parametrize("make", [Lstm, Gated, Tied])
@pytest.mark.parametrize("layers", ["head", "all"])
def test_texts(make: Callable[[], nn.Module], layers: str, device: torch.device) -> None:
    if make is Gated and device.type == "standin":
        pytest.skip("the stand-in has no gated recurrent networks")
    same(tokens(), make, device, layers=layers, detector=["l2", "l1", "isolation_forest"])


@pytest.mark.parametrize("make", [UNet, Sequences])
@pytest.mark.parametrize("layers", ["head", "all"])
def test_networks(make: Callable[[], nn.Module], layers: str, device: torch.device) -> None:
    same(pictures(), make, device, layers=layers, detector=["l2", "l1", "isolation_forest"])


@pytest.mark.parametrize("layers", ["head", "all"])
def test_neighbours(layers: str, device: torch.device) -> None:
    same(pictures(), Pictures, device, layers=layers, detector="l2", residual="neighbours")


def test_a_forest_beside_a_detector_of_answers(device: torch.device) -> None:
    several = ["latent_label", "l2", {"name": "isolation_forest", "per_class": True}, "self_confidence"]
    same(pictures(), Pictures, device, layers="all", detector=several)


def test_factors_that_are_not_held(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    same(pictures(), Pictures, device, layers="all", detector=["isolation_forest", "loss", "latent_label"])


def test_layers_of_a_detector(device: torch.device) -> None:
    several = [{"name": "l2", "layers": "head"}, {"name": "isolation_forest", "layers": ["stem.*"]}]
    same(pictures(), Pictures, device, layers="all", detector=several)


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
@pytest.mark.parametrize("layers", ["head", "all"])
def test_lower_precision_decides_as_float32(precision: Any, layers: str, device: torch.device) -> None:
    options = {"layers": layers, "detector": "l2", "budget": 0.1, "batch_size": 45}
    exact = scored(pictures(90), Pictures, device, **options)["score"]
    found = scored(pictures(90), Pictures, device, precision=precision, **options)["score"]
    rough = np.abs(found / exact - 1)
    assert 0 < rough.max() < 0.1
    top = exact.argsort()[-6:]
    np.testing.assert_allclose(found[top], exact[top], rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_batch_norms_are_folded_at_any_precision(
    precision: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folded network is compared in exact float32, also where torch would round to TF32."""
    network, found = import_module("ogacli.models.network"), list[nn.Module]()
    fold = network.quickened

    def noted(*given: Any) -> nn.Module:
        found.append(fold(*given))
        return found[-1]

    monkeypatch.setattr(network, "quickened", noted)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    scored(pictures(), Pictures, device, detector="l2", precision=precision)
    assert not any(isinstance(layer, nn.BatchNorm2d) for one in found for layer in one.modules())
    assert found


def test_a_dry_run_waits_for_the_work(counts: Counts, tmp_path: Path) -> None:
    """Before and after each of two batches; otherwise it would time how long it takes to start the work."""
    plan(make_place(tmp_path, detector="l2").config("gradients.device=standin"))
    assert sum(times for (kind, _), times in counts.waits.items() if kind == "synchronize") == 4


def test_the_same_again_is_the_same(device: torch.device) -> None:
    options = {"layers": "all", "detector": ["l2", "isolation_forest", "latent_label"]}
    once, again = (scored(pictures(), Pictures, device, **options) for _ in range(2))
    for name, values in once.items():
        np.testing.assert_array_equal(again[name], values)


class Asked(Pictures):
    """Notes whether torch was asked for deterministic algorithms."""

    found: ClassVar[set[bool]] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.found.add(torch.are_deterministic_algorithms_enabled())
        return super().forward(x)


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("wanted", [False, True])
def test_deterministic_algorithms_on_request(wanted: bool, layers: str, device: torch.device) -> None:
    Asked.found.clear()
    options: dict[str, Any] = {"detector": ["isolation_forest", "l1"], "workers": 0, "deterministic": wanted}
    runs = [
        ogacli.scan(pictures(), seeded_weights(Asked), device=str(device), layers=layers, **options)
        for _ in range(2)
    ]
    assert Asked.found == {wanted}
    assert not torch.are_deterministic_algorithms_enabled()
    assert [run.provenance["deterministic"] for run in runs] == [wanted] * 2
    once, again = (run.table()["score"].to_numpy() for run in runs)
    np.testing.assert_array_equal(once, again)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("make", [Pictures, Lstm, Gated])
def test_torchscript(make: Callable[[], nn.Module], no_stand_in: torch.device, tmp_path: Path) -> None:
    """The scores of the same network in Python on the CPU."""
    samples = pictures() if make is Pictures else tokens()
    torch.jit.save(torch.jit.script(seeded_weights(make)), str(tmp_path / "net.pt"))
    scripted = TorchScript(checkpoint=str(tmp_path / "net.pt"))
    options: dict[str, Any] = {"detector": ["l2", "latent_label"], "workers": 0, "batch_size": 13}
    expected = ogacli.scan(samples, seeded_weights(make), device="cpu", **options).table()
    found = ogacli.scan(samples, scripted, device=str(no_stand_in), **options).table()
    for name in ("score", "score_latent_label"):
        np.testing.assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), rtol=2e-5, atol=1e-7)


OTHER_SAMPLES = {"latent_boxes", "latent_mask", "latent_tags"}
"""Detectors of boxes, masks (above) and tags, which these pictures have not."""


@pytest.mark.parametrize("layers", ["head", "all", ["stem.*", "head"]])
@pytest.mark.parametrize("name", sorted({*detectors.names()} - OTHER_SAMPLES))
def test_every_detector(name: str, layers: Any, device: torch.device) -> None:
    given: dict[str, Any] = {"name": name}
    if name == "isolation_forest":
        given |= {"trees": 10, "subsample": 16}
    if name == "pyod":
        pytest.importorskip("pyod")
        given |= {"model": "KNN"}
    loss = {"latent_label_set": "bce_with_logits", "latent_target": "mse"}.get(name, "cross_entropy")
    same(pictures(loss=loss), Pictures, device, layers=layers, detector=given, loss=loss)
