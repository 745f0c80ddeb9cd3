"""Memory of a device that runs out: batches are halved, and nothing of a failed attempt stays."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from device_scans import pictures, scored
from ogacli.data import Batch
from ogacli.gradients import GradientBatch, HeadGradients, LayerGradients
from ogacli.gradients.fallback import Fallback
from ogacli.gradients.feed import GradientFeed
from small_networks import Pictures
from stand_in import ALIVE, CAPACITY, FREE


@pytest.mark.parametrize(("layers", "cls"), [("head", HeadGradients), ("all", LayerGradients)])
def test_failed_attempts_leave_nothing(device, monkeypatch, layers, cls):
    """Moving a batch fails first; then gradients, when they are nearly done."""
    options = {"layers": layers, "detector": "l2", "batch_size": 36}
    expected = scored(pictures(), Pictures, "cpu", **options)
    before: list[int] = []
    alive: list[int] = []
    halve, compute, move = GradientFeed.halve, cls.__call__, Batch.to

    def in_memory() -> int:
        if device.type == "cuda":
            return torch.cuda.memory_allocated()
        return sum(values.nbytes for values in list(ALIVE.keys()))

    def full(self: Any, batch: Batch) -> GradientBatch:
        found = compute(self, batch)
        if len(batch.rows) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    def moved(self: Batch, device: torch.device) -> Batch:
        before.append(in_memory())
        there = move(self, device)
        if len(self.rows) > 20:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
        return there

    def counted(self: GradientFeed, size: int) -> None:
        alive.append(in_memory())
        halve(self, size)

    monkeypatch.setattr(import_module("ogacli.scan.scoring"), "_PART", 1 << 60)  # so that no batches wait
    monkeypatch.setattr(import_module("ogacli.scan.collected.top"), "TOP", 1)  # nor samples
    monkeypatch.setattr(cls, "__call__", full)
    monkeypatch.setattr(Batch, "to", moved)
    monkeypatch.setattr(GradientFeed, "halve", counted)
    found = scored(pictures(), Pictures, device, **options)
    monkeypatch.undo()
    np.testing.assert_allclose(found["score"], expected["score"], rtol=2e-5)
    assert len(alive) == 5
    # A GPU rounds up the memory of each tensor.
    results = 5000 if device.type == "standin" else 1 << 16
    assert max(alive) <= before[0] + results, "results of batches that went well, and no attempts"


@pytest.fixture
def much(device: torch.device) -> Iterator[int]:
    """A number of samples that are too many for the memory of the device, if they come in one batch."""
    if device.type == "standin":
        CAPACITY[0] = 40_000  # the activations of 26 samples
        yield 36
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (96 << 20)) / total)
    yield 1 << 15
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_memory_that_runs_out_within_a_pass(device, much, monkeypatch, layers):
    halve, halved = GradientFeed.halve, []
    monkeypatch.setattr(GradientFeed, "halve", lambda self, size: [halved.append(size), halve(self, size)])
    options = {"layers": layers, "detector": ["l2", "l1"]}
    expected = scored(pictures(much), Pictures, "cpu", batch_size=512, **options)
    found = scored(pictures(much), Pictures, device, batch_size=much, **options)
    assert halved[0] == much
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5)


def test_a_fit_that_does_not_fit_is_made_again(device, monkeypatch):
    from ogacli.detectors.isolation_forest import Isolation

    forest = {"name": "isolation_forest", "trees": 10, "subsample": 16}
    expected = scored(pictures(), Pictures, "cpu", detector=forest)
    fit, tries = Isolation.fit, []

    def full(self: Isolation, batches: object) -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")
        fit(self, batches)

    monkeypatch.setattr(Isolation, "fit", full)
    found = scored(pictures(), Pictures, device, detector=forest)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=2e-5)
    assert len(tries) == 3


def test_the_fallback_does_not_swallow_it():
    """Otherwise it would go on sample by sample for good."""
    fallback = Fallback(torch.nn.Linear(2, 2))

    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    fallback._vectorised = full  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        fallback(["weight"], torch.ones(3, 2), torch.ones(3, 2))
    assert fallback._vectorises


def test_the_batch_size_follows_the_free_memory(counts):
    import ogacli

    sizes = []
    for free in (64 << 30, 1 << 20):
        FREE[0] = free
        run = ogacli.scan(pictures(), Pictures().eval(), device="standin", detector="l2", workers=0)
        sizes.append(run.provenance["batch_size"])
    FREE[0] = 64 << 30
    assert sizes[0] == 2048
    assert 1 <= sizes[1] < 512
    assert sizes[1] & (sizes[1] - 1) == 0, "a power of two, so that little changes do not show"
