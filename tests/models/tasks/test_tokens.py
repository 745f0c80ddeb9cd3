"""Networks that return their loss in parts."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError, GradientError
from ogacli.models.sources.python import Python
from ogacli.models.tasks.tokens import Output
from one_sample import check_residual, drawn

N, SIZE = 40, 4
OWN = """
import torch
from torch import nn

class Returns(nn.Module):
    '''An autoencoder that returns its squared error by pixel, by row of pixels, or as one number.'''

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        lost = (self.net(x) - x)[:, 0].square()
        return {"pixels": lost, "rows": lost.sum(2), "one": lost.sum((1, 2))}[self.shape]

def make(shape):
    torch.manual_seed(0)
    return Returns(shape)
"""


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.lists(st.integers(1, 5), min_size=2, max_size=4))
def test_parts_of_any_shape_are_added_up_by_sample(seed, shape):
    check_residual(Output(), drawn(seed, *shape), torch.zeros(shape[0], 0), lambda parts, label: parts.sum())


@pytest.fixture
def place(tmp_path):
    """Pictures of five classes, and a network that returns its loss."""
    pixels = np.random.default_rng(0).integers(0, 255, (N, SIZE, SIZE)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=pixels, y=np.arange(N) % 5)
    (tmp_path / "own_output.py").write_text(OWN)
    return tmp_path


def write(place: Path, shape: str, **sections: object) -> Path:
    values = {
        "data": {"source": "arrays", "path": "data.npz", "x": "x", "y": "y"},
        "model": {"source": "python", "factory": "own_output:make", "args": {"shape": shape}},
        "loss": "output",
        "gradients": {"layers": "all"},
        "detector": ["l2", "loss"],
        "output": f"run-{shape}",
    } | sections
    (place / "c.yaml").write_text(yaml.safe_dump(values))
    return place / "c.yaml"


def one_by_one(config: object) -> list[tuple[float, float]]:
    """The loss and the norm of its gradient of each sample, by autograd."""
    samples = config.data.open()
    module = config.model.load(samples).module.requires_grad_(True)
    found = []
    for row in range(N):
        loss = module(samples.read([row]).inputs).sum()
        parts = torch.autograd.grad(loss, list(module.parameters()))
        found.append((loss.item(), torch.cat([part.flatten() for part in parts]).norm().item()))
    return found


@pytest.mark.parametrize("shape", ["pixels", "rows"])
def test_losses_are_not_taken_for_logits(place, shape):
    """Class labels stand beside a loss that they have nothing to do with."""
    config = load_config(write(place, shape))
    run = scan(config)
    losses, norms = zip(*one_by_one(config), strict=True)
    np.testing.assert_allclose(run.scores["score"].to_numpy(), norms, rtol=1e-4)
    np.testing.assert_allclose(run.scores["score_loss"].to_numpy(), losses, rtol=1e-4)
    assert run.scores["suggested_label"].null_count == N
    assert run.scores["probability"].null_count == N
    assert (run.summary.diagnosis.fit, run.summary.estimate) == (None, None)
    assert {row["kind"] for row in run.previews.to_pylist()} == {"image"}, (
        "no texts: shown as the reader does"
    )


@pytest.mark.parametrize(
    "detector",
    ["latent_label", "self_confidence", "normalized_margin", "confidence_weighted_entropy", "ensemble"],
)
def test_label_quality_needs_logits(place, detector):
    """Parts of the loss are no logits, even where there are as many as classes."""
    problem = "label quality takes one class .*\n  found: a network that returns its loss, and no logits"
    with pytest.raises(GradientError, match=problem):
        scan(load_config(write(place, "rows", detector=["l2", detector])))


def test_a_model_that_returns_its_loss_of_samples_that_are_no_texts(place, monkeypatch):
    monkeypatch.setattr(Python, "returns_loss", True)
    run = scan(load_config(write(place, "pixels", loss=None)))
    assert run.config["loss"] == {"name": "output"}
    assert {row["kind"] for row in run.previews.to_pylist()} == {"image"}


def test_one_number_a_sample_is_refused(place):
    with pytest.raises(GradientError, match=r"does not return logits\n  found: \[\d+\]\n"):
        scan(load_config(write(place, "one")))


def test_an_automatic_budget_needs_class_probabilities(place):
    with pytest.raises(ConfigError, match="budget: wrong labels can be counted only"):
        scan(load_config(write(place, "rows", budget="auto")))
