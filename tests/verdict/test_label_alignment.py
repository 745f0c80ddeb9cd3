"""Outputs in another order than labels of which a sample may have several."""

import pytest
import torch
from torch import Tensor, nn

from ogacli.verdict.label_alignment import misaligned_labels


def answers(k: int, m: int = 800, *, wrong: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of a model that is mostly right, and labels, of which a share is flipped."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(m, k, generator=generator) < 0.3).float()
    logits = 4 * truth - 2 + 1.5 * torch.randn(m, k, generator=generator)
    flip = torch.rand(m, k, generator=generator) < wrong
    return logits, torch.where(flip, 1 - truth, truth)


@pytest.mark.parametrize("k", [3, 8, 40])
@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_the_order_of_the_outputs_is_found(k: int, wrong: float) -> None:
    logits, labels = answers(k, wrong=wrong)
    order = [*range(1, k), 0]
    assert misaligned_labels(logits, labels) is None
    found, sure = misaligned_labels(logits[:, order], labels)
    assert sure
    assert found.order(k) == order
    assert found.outputs == {label: order.index(label) for label in range(k)}


def test_two_exchanged_labels_are_only_suspected() -> None:
    logits, labels = answers(6)
    found, sure = misaligned_labels(logits[:, [1, 0, 2, 3, 4, 5]], labels)
    assert (found.outputs, sure) == ({0: 1, 1: 0}, False)


def test_weak_models_and_labels_that_occur_together_are_not() -> None:
    logits, labels = answers(6)
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    assert misaligned_labels(noise, labels) is None
    assert misaligned_labels(0.2 * logits + 2 * noise, labels) is None
    labels[:, 1] = labels[:, 0]
    assert misaligned_labels(logits, labels) is None
    assert misaligned_labels(logits, torch.zeros_like(labels)) is None


@pytest.mark.parametrize("k", [3, 5, 8])
def test_untrained_models_are_not(k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(600, k, generator=generator) < 0.4).float()
    inputs = torch.randn(600, 12, generator=generator)
    inputs[:, :k] += 3 * labels
    for seed in range(60):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            outputs = nn.Linear(12, k)(inputs - inputs.mean(0))
        found = misaligned_labels(outputs, labels)
        assert found is None or not found[1], seed
