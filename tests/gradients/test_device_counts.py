"""What a batch asks of a device: operations and synchronisations, counted on the stand-in.

They stand for the time on a GPU, where each operation of a small layer takes as long as starting it.
"""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ogacli
from ogacli.data import Batch, Samples
from ogacli.gradients import GradientOptions, capture
from ogacli.models import Network
from ogacli.models.sources.resnet_cifar import ResNet
from ogacli.models.tasks.classification import Classification
from one_by_one import labels_of
from small_networks import seeded_weights
from stand_in import COUNTS

K = 3
DEFAULT = [{"name": "latent_label", "fit_samples": 64}, "l2",
    {"name": "isolation_forest", "trees": 4, "subsample": 16}]  # fmt: skip
"""The default detectors, fitted to few samples."""
COORDINATES = torch.arange(0, 5000, 7)


def network() -> nn.Module:
    return seeded_weights(lambda: ResNet([1, 1, 1], 8, 3, K, projected=True))


def batch(b: int, device: torch.device) -> Batch:
    pictures = torch.randn(b, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return Batch(torch.arange(b), pictures, labels_of(b) % K, {}).to(device)


def plain(b: int, device: torch.device, *, backward: bool, module: nn.Module | None = None) -> int:
    """Operations of an ordinary pass with weight gradients."""
    module, one = (module or network()).to(device), batch(b, device)
    COUNTS.reset()
    if backward:
        module.requires_grad_(True)
        F.cross_entropy(module(one.inputs), one.labels, reduction="sum").backward()
    else:
        with torch.inference_mode():
            module(one.inputs)
    return COUNTS.total


def ours(b: int, device: torch.device, orders: list[int], coords: Tensor = COORDINATES[:0]) -> Any:
    """Operations and synchronisations of all layers, from the second batch on."""
    model = Network(network(), head=None, outputs=K)
    model.to(device)
    compute = capture(model, Classification(), GradientOptions(layers="all"))
    compute.reduce_to(orders, coords.to(device))
    one, on_device = batch(b, device), coords.to(device)
    for _ in range(2):
        COUNTS.reset()
        found = compute(one)
        if orders:
            found.norms(orders)
        if len(coords):
            found.entries(on_device)
    return COUNTS.total, COUNTS.synchronisations


@pytest.mark.parametrize(("orders", "most"), [([2], 3), ([1], 4), ([1, 2], 4)])
def test_norms_of_all_layers(counts, orders, most):
    device = torch.device("standin", 0)
    operations, waits = ours(8, device, orders)
    assert operations <= most * plain(8, device, backward=True)
    assert waits == 0
    assert ours(32, device, orders) == (operations, waits), "whatever the batch size"


def test_coordinates_of_all_layers(counts):
    device = torch.device("standin", 0)
    operations, waits = ours(8, device, [], COORDINATES)
    assert operations <= 4 * plain(8, device, backward=True)
    assert waits == 0
    assert ours(32, device, [], COORDINATES) == (operations, waits)


def deep() -> nn.Module:
    """The layers of a ResNet-18."""
    return seeded_weights(lambda: ResNet([2, 2, 2, 2], 4, 3, K, projected=True))


def scanned(n: int, **options: Any) -> tuple[int, int]:
    x = np.random.default_rng(0).normal(size=(n, 3, 16, 16)).astype(np.float32)
    samples = Samples.of(x, labels=np.arange(n) % K, classes=K)
    COUNTS.reset()
    ogacli.scan(samples, deep(), device="standin", batch_size=8, workers=0, **options)
    return COUNTS.total, COUNTS.synchronisations


def one_more_batch(few: int = 16, many: int = 48, **options: Any) -> tuple[float, float]:
    """Operations and synchronisations of a forward pass of 8 samples in a scan, and of what belongs to it."""
    counts = [scanned(n, fold=False, **options) for n in (few, many)]
    passes = (many - few) / 8
    return (counts[1][0] - counts[0][0]) / passes, (counts[1][1] - counts[0][1]) / passes


def test_one_more_pass_of_head_gradients(counts):
    """Several forward passes make a batch, as long as its inputs are small."""
    operations, waits = one_more_batch(layers="head", detector="l2")
    assert waits <= 0
    assert operations <= plain(8, torch.device("standin", 0), backward=False, module=deep()) + 2


@pytest.mark.parametrize(("detector", "more"), [("l2", 40), (DEFAULT, 45)])
def test_one_more_batch_of_head_gradients(counts, monkeypatch, detector, more):
    """Each forward pass is a batch; 16 of them wait to be scored together."""
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_INPUT_BYTES_ELSEWHERE", 1)
    operations, waits = one_more_batch(8 * 16, 8 * 48, layers="head", detector=detector)
    assert waits <= 4
    assert operations <= plain(8, torch.device("standin", 0), backward=False, module=deep()) + more


@pytest.mark.parametrize(("detector", "most"), [("l2", 3), ("l1", 4)])
def test_one_more_batch_of_all_layers(counts, detector, most):
    operations, waits = one_more_batch(layers="all", detector=detector)
    assert waits <= 8
    assert operations <= most * plain(8, torch.device("standin", 0), backward=True, module=deep())


def test_scores_of_a_forest(counts):
    from gradient_batches import head_batch, moved
    from ogacli.detectors.isolation_forest import IsolationForest

    device = torch.device("standin", 0)
    detector = IsolationForest(trees=100, subsample=64).detector()
    rows = head_batch(600)
    detector.fit_size(600)
    detector.fit([rows])
    totals = []
    for size in (20, 300):
        there = moved(rows.select(slice(0, size)), device)
        detector.score(there)
        COUNTS.reset()
        detector.score(there)
        totals.append((COUNTS.total, COUNTS.synchronisations))
    assert totals[0] == totals[1]
    assert totals[0][0] <= 150
    assert totals[0][1] == 0
