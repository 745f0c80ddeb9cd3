"""Networks in half and in double precision take the float32 inputs that data sources make."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ogacli
from ogacli.base.seeding import seeded
from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.models.precision import taking_float32

KINDS = [torch.float16, torch.bfloat16, torch.float64]


def small() -> nn.Module:
    with seeded(0, torch.device("cpu")):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
        ).eval()


class Converts(nn.Module):
    """Converts to half precision itself, so that its weights must stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small().half()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.half())


class Named(nn.Module):
    """Takes several inputs by name, one of them of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor, numbers: Tensor) -> Tensor:
        return self.head(torch.cat([self.table(tokens), numbers], 1))


def half(kind: str = "float16") -> nn.Module:
    """A factory."""
    return small().to(getattr(torch, kind))


X = torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(2))
Y = torch.arange(30) % 3
DETECTORS = ["l2", "l1", "latent_label", "self_confidence"]


def scores(module: nn.Module, layers: str) -> dict[str, np.ndarray]:
    detectors = DETECTORS[:2] if layers == "all" else DETECTORS
    table = ogacli.scan(ogacli.Samples.of(X, labels=Y), module, layers=layers, detector=detectors).table()
    assert set(table["status"].to_pylist()) == {"ok"}
    names = [name for name in table.column_names if name.startswith("score")]
    return {name: table[name].to_numpy() for name in names}


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_weights_in_float32(kind: torch.dtype, layers: str) -> None:
    module = small().to(kind)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found, expected = scores(module, layers), scores(copy.deepcopy(module).float(), layers)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before), "the user's network is not changed"
    assert not module._forward_pre_hooks


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_network_that_converts_itself(layers: str) -> None:
    found, expected = scores(Converts(), layers), scores(small(), layers)
    for name in expected:
        assert np.corrcoef(found[name], expected[name])[0, 1] > 0.999


def test_several_inputs() -> None:
    module, generator = Named().to(torch.bfloat16), torch.Generator().manual_seed(0)
    inputs = {
        "tokens": torch.randint(5, (8,), generator=generator),
        "numbers": torch.randn(8, 2, generator=generator),
    }
    samples = ogacli.Samples.of(inputs, labels=torch.arange(8) % 3)
    (batch,) = ogacli.gradients(samples, module, layers="all")
    (expected,) = ogacli.gradients(samples, copy.deepcopy(module).float(), layers="all")
    torch.testing.assert_close(batch.norm(2), expected.norm(2))


@pytest.mark.parametrize("layers", ["head", "all"])
def test_inputs_in_half_precision(layers: str) -> None:
    pairs = [(x.half(), int(y)) for x, y in zip(X, Y, strict=True)]
    (batch,) = ogacli.gradients(ogacli.Samples.of(pairs), small().half(), layers=layers)
    assert batch.norm(2).isfinite().all()


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_a_factory(tmp_path, kind: str) -> None:
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=Y.numpy())
    text = (
        f"data: {{source: arrays, path: {tmp_path}/d.npz, x: x, y: y}}\n"
        f"model: {{source: python, factory: '{__name__}:half', args: {{kind: {kind}}}}}\n"
    )
    run = scan(parse_config(text), output=tmp_path / "run")
    assert run.summary.quarantined == 0


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript(tmp_path) -> None:
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=Y.numpy())
    torch.jit.save(torch.jit.trace(small().half(), X[:2].half()), tmp_path / "half.pt")
    text = (
        f"data: {{source: arrays, path: {tmp_path}/d.npz, x: x, y: y}}\n"
        f"model: {{source: torchscript, checkpoint: {tmp_path}/half.pt}}\n"
    )
    assert scan(parse_config(text), output=tmp_path / "run").summary.quarantined == 0


@pytest.mark.parametrize("module", [small(), nn.Linear(3, 3), nn.ReLU()])
def test_others_are_left_as_they_are(module: nn.Module) -> None:
    before: dict[str, Any] = dict(module.named_parameters())
    assert taking_float32(module, X[:1]) is module
    assert dict(module.named_parameters()) == before or not before
    assert not module._forward_pre_hooks
