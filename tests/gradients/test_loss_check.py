"""A loss that mixes the samples of a batch is refused, for the head as for all layers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ogacli
from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import GradientError
from ogacli.gradients.loss_check import check_loss
from ogacli.models.tasks import tasks
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.multi_label import MultiLabel
from ogacli.models.tasks.own_loss import OwnLoss
from ogacli.models.tasks.regression import Regression

WEIGHTS = torch.tensor([1.0, 10.0, 1.0])


def weighted(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, weight=WEIGHTS, reduction="none")


def by_the_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """What ``reduction="mean"`` divides by."""
    return weighted(logits, labels) / WEIGHTS[labels].sum()


def by_the_mean_weight(logits: Tensor, labels: Tensor) -> Tensor:
    """The same for a batch of one label as for each sample alone."""
    return weighted(logits, labels) / WEIGHTS[labels].mean()


def centred(logits: Tensor, labels: Tensor) -> Tensor:
    """Statistics of the batch, as of a batch norm."""
    return F.cross_entropy(logits - logits.mean(0), labels, reduction="none")


def compared(logits: Tensor, labels: Tensor) -> Tensor:
    """Adds up to nothing over any batch, so that the residual is zero throughout."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses - losses.mean()


def by_frequency(logits: Tensor, labels: Tensor) -> Tensor:
    counts = labels.bincount(minlength=3)[labels]
    return F.cross_entropy(logits, labels, reduction="none") / counts


def of_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Takes nothing but probabilities."""
    assert (logits.sum(1) - 1).abs().max() < 1e-4
    return F.nll_loss(logits.log(), labels, reduction="none")


MIXING: list[Callable[[Tensor, Tensor], Tensor]] = [
    by_the_weights,
    by_the_mean_weight,
    centred,
    compared,
    by_frequency,
]


def own(loss: Callable[[Tensor, Tensor], Tensor]) -> OwnLoss:
    return OwnLoss(factory=f"{__name__}:{loss.__name__}")


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("sure", [1.0, 30.0], ids=["unsure", "sure"])
@pytest.mark.parametrize("loss", MIXING)
def test_it_is_refused_whatever_the_first_batch_is(
    loss: Callable[[Tensor, Tensor], Tensor], sure: float, layers: str
) -> None:
    """The data is sorted by label, so that the first batch has one; and the network may be sure of it."""
    module = nn.Linear(3, 3)
    nn.init.eye_(module.weight)
    module.weight.data *= sure
    nn.init.zeros_(module.bias)
    labels = torch.arange(3).repeat_interleave(20)
    x = F.one_hot(labels, 3).float() + 0.1 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    samples = ogacli.Samples.of(x, labels=labels)
    with pytest.raises(GradientError, match=r"loss\.factory .*: the loss of a sample depends on the other"):
        next(ogacli.gradients(samples, module, loss=own(loss), layers=layers, batch_size=20))


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_loss_of_each_sample_alone_is_taken(layers: str) -> None:
    samples = ogacli.Samples.of(torch.randn(9, 3), labels=[0] * 5 + [1] * 4, classes=3)
    module = nn.Sequential(nn.Linear(3, 3))
    assert len(list(ogacli.gradients(samples, module, loss=own(weighted), layers=layers))) == 1
    softened = nn.Sequential(nn.Linear(3, 3))
    softened[0].weight.data.zero_()
    softened[0].bias.data.fill_(1 / 3)
    found = ogacli.gradients(samples, softened, loss=own(of_probabilities), layers=layers)
    assert len(list(found)) == 1, "it takes no other logits than those of the network"


@pytest.mark.parametrize("n", [1, 2, 30])
def test_own_tasks_pass(n: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 20 * torch.randn(n, 4, generator=generator)
    logits[0, 1] = -torch.inf
    check_loss(Classification(), logits, torch.full((n,), 2), 4)
    check_loss(Classification(label_smoothing=0.1), logits, torch.arange(n) % 4, 4)
    check_loss(MultiLabel(), logits, (torch.rand(n, 4, generator=generator) > 0.5).float(), 4)
    check_loss(Regression(), logits[:, 2:], torch.randn(n, 2, generator=generator), 0)
    check_loss(tasks.get("output")(), logits[:, 2:], torch.zeros(n, 0), 0)


@pytest.mark.parametrize("n", [1, 30])
def test_a_single_sample_is_enough(n: int) -> None:
    logits = torch.randn(n, 3, generator=torch.Generator().manual_seed(1))
    for loss in MIXING:
        with pytest.raises(GradientError, match="depends on the other samples"):
            check_loss(own(loss), logits, torch.zeros(n, dtype=torch.int64), 3)


def test_logits_without_a_network(tmp_path) -> None:
    np.save(tmp_path / "p.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    np.savez(tmp_path / "d.npz", y=np.repeat([0, 1], 20))
    config = parse_config(
        f"data: {{source: arrays, path: {tmp_path}/d.npz, y: y, classes: 3}}\n"
        f"model: {{source: precomputed, logits: {tmp_path}/p.npy}}\n"
        f"loss: {{name: python, factory: '{__name__}:by_the_mean_weight'}}\ndetector: l2\n"
    )
    with pytest.raises(GradientError, match="depends on the other samples"):
        scan(config, output=tmp_path / "run")
