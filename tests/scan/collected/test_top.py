"""The samples with the highest scores: the same ones on the CPU and on a device, whatever the batches."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from gradient_batches import head_batch, moved
from ogacli.scan.collected.top import TopSamples


@pytest.mark.parametrize("size", [7, 30, 200])
def test_the_same_samples_are_kept_whatever_the_batches(counts, monkeypatch, size):
    monkeypatch.setattr(import_module("ogacli.scan.collected.top"), "TOP", 20)
    whole, scores = head_batch(200), torch.rand(200, generator=torch.Generator().manual_seed(0))
    scores[3] = torch.nan
    found = []
    for device in (torch.device("cpu"), torch.device("standin", 0)):
        top = TopSamples(200, lambda rows: torch.where(rows % 5 == 0, rows // 5, -1), 40, device)
        for number in range(2):
            for part in torch.arange(200).split(size):
                rows = slice(int(part[0]), int(part[-1]) + 1)
                top.add(moved(whole.select(rows), device), (scores[rows] + number).to(device), number)
            top.next_checkpoint(counts=number == 0, alone=True)
        found.append([kept.known().tensors() for kept in (top.top, top.others)])
    for expected, other in zip(*found, strict=True):
        for name, values in expected.items():
            torch.testing.assert_close(other[name], values)
    assert sorted(found[0][0]["rows"].tolist()) == sorted(scores.nan_to_num(-1).topk(20).indices.tolist())


def test_features_by_the_last_checkpoint_that_counts(counts):
    batch, device = head_batch(30), torch.device("cpu")
    top = TopSamples(30, lambda rows: torch.where(rows % 3 == 0, rows // 3, -1), 10, device)
    assert not len(top.probed(current=True).rows)
    expected = []
    for number, counting in enumerate((True, False)):
        assert batch.features is not None
        own = replace(batch, features=batch.features + number)
        own.features[6] = torch.nan
        top.add(own, torch.rand(30), number)
        expected.append(own.features[[0, 3, 9, 12, 15, 18, 21, 24, 27]])
        current = top.probed(current=True)
        top.next_checkpoint(counts=counting, alone=False)
        assert current.rows.tolist() == [0, 3, 9, 12, 15, 18, 21, 24, 27]
        assert torch.equal(current.features[:, : own.features.shape[1]], expected[number])
    assert torch.equal(top.probed().features[:, : own.features.shape[1]], expected[0])


def test_a_sample_that_is_scored_again_is_kept_once(monkeypatch):
    """With its last score, also where both have waited to be looked through."""
    monkeypatch.setattr(import_module("ogacli.scan.collected.top"), "TOP", 10)
    batch, scores = head_batch(12), torch.arange(12.0)
    top = TopSamples(12, lambda rows: torch.full_like(rows, -1), 0, torch.device("cpu"))
    for some, change in ((slice(0, 12), 0.0), (slice(8, 10), 20.0), (slice(9, 10), -5.0)):
        top.add(batch.select(some), scores[some] + change, 0)
    assert top.current.rows.tolist() == [8, 11, 10, 7, 6, 5, 4, 9, 3, 2]
    assert top.current.scores.tolist() == [28, 11, 10, 7, 6, 5, 4, 4, 3, 2]
