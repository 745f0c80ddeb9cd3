"""A source of models, added by another distribution as one file."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from ogacli.base.registry import type_name
from ogacli.config import load_config, parse_config
from ogacli.config.commands import scan, train
from ogacli.errors import ConfigError
from ogacli.models.sources import sources
from reference import norm

N, H, K = 40, 4, 3

SOURCE = '''
"""Radial basis functions around fixed centres, and a linear layer."""

import torch
from torch import nn

from ogacli.models.sources import Fit, NetworkSource, sources


class Radial(nn.Module):
    def __init__(self, width, centres, outputs):
        super().__init__()
        self.register_buffer("centres", torch.randn(centres, width))
        self.head = nn.Linear(centres, outputs)

    def forward(self, x):
        return self.head(torch.cdist(x, self.centres).square().neg().exp())


@sources.register
class RadialBasis(NetworkSource):
    """A network of radial basis functions."""

    centres: int = 8
    """How many."""

    def build(self, fit: Fit) -> nn.Module:
        return Radial(fit.shape[0], self.centres, fit.outputs)
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An installed distribution, a dataset, and a config."""
    installed = tmp_path / "site"
    info = installed / "radial-1.0.dist-info"
    info.mkdir(parents=True)
    (installed / "radial_basis.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: radial\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ogacli.models.sources]\nradial_basis = radial_basis\n")
    monkeypatch.syspath_prepend(str(installed))
    rng = np.random.default_rng(0)
    y = np.arange(N) % K
    np.savez(tmp_path / "data.npz", x=(rng.normal(size=(N, H)) + y[:, None]).astype(np.float32), y=y)
    values = {
        "data": {"source": "arrays", "path": "data.npz", "x": "x", "y": "y"},
        "model": {"source": "radial_basis", "centres": 5, "checkpoint": "weights/epoch-002.safetensors"},
        "detector": "l2",
        "output": "run",
        "train": {"epochs": 2, "output": "weights"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    yield tmp_path
    sources._found.pop("radial_basis", None)
    sys.modules.pop("radial_basis", None)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_its_network_is_trained_and_scanned(place, layers):
    config = load_config(place / "c.yaml", [f"gradients.layers={layers}"])
    assert type_name(config.model) == "radial_basis"
    assert len(train(config).checkpoints) == 2
    run = scan(config)
    assert run.config["model"]["source"] == "radial_basis"
    samples = config.data.open()
    module = config.model.load(samples).module.requires_grad_(True)
    exact = []
    for x, y in zip(samples.read(range(N)).inputs.split(1), samples.labels.split(1), strict=True):
        parts = torch.autograd.grad(F.cross_entropy(module(x), y), list(module.parameters()))
        exact.append(torch.cat([part.flatten() for part in parts]))
    np.testing.assert_allclose(run.scores["score"].to_numpy(), norm(torch.stack(exact), 2), rtol=1e-4)


def test_its_options_are_checked(place):
    text = "data: digits\nmodel: {source: radial_basis, %s: 3}\n"
    assert parse_config(text % "centres").model.centres == 3
    with pytest.raises(ConfigError, match=r"model\.centers: unknown key; did you mean 'centres'"):
        parse_config(text % "centers")
    with pytest.raises(ConfigError, match=r"unknown model source 'radial_base'; did you mean 'radial_basis'"):
        parse_config("data: digits\nmodel: radial_base\n")
