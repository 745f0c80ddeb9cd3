"""Logits of minus infinity: a probability of 0, and no reason to leave a sample out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ogacli
from gradient_batches import head_batch
from ogacli.detectors import detectors
from ogacli.errors import ConfigError
from ogacli.gradients import GradientBatch
from ogacli.gradients.layers.linear import Outer
from ogacli.models.tasks.multi_label import MultiLabel

N, LOW = 300, -1e4
OTHER_LABELS = ("latent_label_set", "latent_target", "latent_mask", "latent_boxes", "latent_tags")
"""Detectors that take no class of a sample; the first is tried with several classes below."""


def masked(low: float) -> GradientBatch:
    """Gradients of a network that excludes two classes, which no label has, from some samples."""
    batch = head_batch(N)
    logits = torch.cat([batch.logits, torch.randn(N, 2, generator=torch.Generator().manual_seed(5))], 1)
    logits[::2, 10] = low
    logits[::3, 11] = low
    residual = logits.softmax(1)
    residual[torch.arange(N), batch.labels] -= 1
    assert batch.features is not None
    return replace(
        batch,
        logits=logits,
        residual=residual,
        parts=[Outer(batch.features, residual, True)],
        losses=torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none"),
    )


@pytest.mark.parametrize("name", [name for name in detectors.names() if name not in OTHER_LABELS])
def test_every_detector_takes_it_for_a_probability_of_zero(name: str) -> None:
    """The same scores as with logits so low that the probability is zero."""

    def scores(batch: GradientBatch) -> Tensor:
        detector = detectors.get(name)().detector()
        if size := detector.fit_size(N):
            detector.fit([batch.select(slice(0, size))])
        return detector.finish(detector.score(batch), batch.labels)

    try:
        found, expected = scores(masked(-torch.inf)), scores(masked(LOW))
    except ConfigError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    assert found.isfinite().all()
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-3)


def test_of_several_classes() -> None:
    """A class that the network excludes is as absent as one of a very low logit."""

    def scores(low: float) -> Tensor:
        batch = masked(low)
        batch = replace(batch, labels=torch.nn.functional.one_hot(batch.labels, 12).double())
        detector = detectors.get("latent_label_set")().detector()
        detector.fit([batch])
        return detector.score(batch)

    torch.testing.assert_close(scores(-torch.inf), scores(LOW))


class Excludes(nn.Module):
    """Excludes the classes that the last inputs name."""

    def __init__(self, low: float, *, inside: bool = False) -> None:
        super().__init__()
        self.low = low
        self.inside = inside
        self.body = nn.Linear(5, 6)
        self.head = nn.Linear(6, 4)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        if inside:
            self.head.bias.data[3] = low

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(torch.tanh(self.body(x[:, :5])))
        return logits if self.inside else logits.masked_fill(x[:, 5:] > 0, self.low)


def data(n: int = 60) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 5, generator=generator)
    labels = torch.arange(n) % 3
    excluded = (torch.rand(n, 4, generator=generator) > 0.6).float()
    excluded[torch.arange(n), labels] = 0
    excluded[7, labels[7]] = 1
    return torch.cat([x, excluded], 1), labels


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("inside", [False, True], ids=["after the head", "by the head"])
def test_scans(layers: str, inside: bool) -> None:
    x, labels = data()
    samples = ogacli.Samples.of(x, labels=labels, classes=4)
    names = ["l2", "l1", "isolation_forest"] + ["latent_label", "loss", "self_confidence"] * (
        layers == "head"
    )
    found = ogacli.scan(samples, Excludes(-torch.inf, inside=inside), layers=layers, detector=names)
    # Where the network itself lowers its logits, these are no longer the output of its head.
    same = ["head.*"] if layers == "head" and not inside else layers
    expected = ogacli.scan(samples, Excludes(LOW, inside=inside), layers=same, detector=names)
    lost = [] if inside else [7]
    assert sorted(found.verdict.findings.quarantined) == lost, "only where the given label is excluded"
    kept = np.setdiff1d(np.arange(len(x)), lost)
    for name, scores in found.verdict.findings.scores.items():
        right = expected.verdict.findings.scores[name][kept]
        assert scores[kept].isfinite().all()
        if name in ("l1", "l2", "loss", "self_confidence"):
            torch.testing.assert_close(scores[kept], right, rtol=1e-5, atol=1e-9)


def test_several_classes_a_sample() -> None:
    logits = torch.tensor([[1.0, -torch.inf, -3.0], [2.0, -torch.inf, 40.0], [0.0, -50.0, 60.0]])
    labels = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    task = MultiLabel()
    losses = task.loss(logits, labels)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.clamp_min(-100), labels, reduction="none"
    ).sum(1)
    torch.testing.assert_close(losses[[0, 2]], plain[[0, 2]])
    assert losses[1] == torch.inf
    assert task.residual(logits, labels).isfinite().all()
    own = logits[[0, 2]].requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(own, labels[[0, 2]]).sum(), own)
    torch.testing.assert_close(gradient, task.residual(logits, labels)[[0, 2]])
