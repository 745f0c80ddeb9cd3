import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.config import parse_config
from ogacli.errors import ConfigError, GradientError
from ogacli.models.tasks.own_loss import OwnLoss
from one_sample import check_residual, drawn

OWN = """
import torch

def hinge(logits, labels):
    right = logits.gather(1, labels[:, None])
    margins = (1 + logits - right).clamp_min(0)
    return margins.scatter(1, labels[:, None], 0.0).sum(1)

def averaged(logits, labels):
    return hinge(logits, labels).mean()

def blind(logits, labels):
    return torch.ones(len(logits))
"""
LABELS = torch.arange(7) % 5


def fourth_power(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return ((logits - labels) ** 4).flatten(1).sum(1)


@pytest.fixture
def own(tmp_path):
    """A loss from a module beside the config."""
    (tmp_path / "losses_of_test.py").write_text(OWN)

    def make(name: str) -> OwnLoss:
        section = f"loss: {{name: python, factory: 'losses_of_test:{name}'}}"
        text = f"data: {{source: digits}}\nmodel: {{source: mlp}}\n{section}"
        task = parse_config(text, base=tmp_path).loss
        assert isinstance(task, OwnLoss)
        return task

    yield make
    sys.modules.pop("losses_of_test", None)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), b=st.integers(1, 5), k=st.integers(1, 5))
def test_residuals_are_those_of_autograd_sample_by_sample(seed, b, k):
    task = OwnLoss(factory=f"{__name__}:fourth_power")
    check_residual(task, drawn(seed, b, k), drawn(seed + 1, b, k), lambda z, y: ((z - y) ** 4).sum())


def test_a_function_beside_the_config(own):
    logits = torch.tensor([[2.0, 1.5, -3.0], [0.0, 0.0, 5.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    task = own("hinge")
    assert task.loss(logits, labels).tolist() == [0.5, 7.0]
    assert task.residual(logits, labels).tolist() == [[-1, 1, 0], [1, -2, 1]]
    torch.testing.assert_close(task.label_probability(logits, labels), logits.softmax(1)[[0, 1], [0, 1]])
    assert task.label_probability(logits, logits) is None, "no class"


def test_a_loss_that_averages_is_refused(own):
    with pytest.raises(GradientError, match="does not return one value a sample") as caught:
        own("averaged").residual(drawn(0, 7, 5), LABELS)
    assert "losses_of_test:averaged" in str(caught.value)
    assert "reduction='none'" in str(caught.value)


def test_a_loss_without_a_gradient_is_refused(own):
    with pytest.raises(GradientError, match="the loss does not depend on the logits"):
        own("blind").residual(drawn(0, 7, 5), LABELS)


def test_a_loss_that_cannot_be_imported(own):
    with pytest.raises(ConfigError, match="losses_of_test:huber: cannot be imported"):
        own("huber").loss(drawn(0, 7, 5), LABELS)
