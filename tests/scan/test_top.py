"""The samples with the highest scores: the same ones whether they are looked through at once or wait."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from ogacli.scan.top import TopSamples
from tests.gradient_batches import head_batch, moved


@pytest.mark.parametrize("at_once", [1, 70, 8192])
def test_samples_that_wait_are_kept_as_if_at_once(counts, monkeypatch, at_once):
    monkeypatch.setattr(import_module("ogacli.scan.top"), "_AT_ONCE", at_once)
    monkeypatch.setattr(import_module("ogacli.scan.top"), "TOP", 20)
    whole, scores = head_batch(200), torch.rand(200, generator=torch.Generator().manual_seed(0))
    scores[3] = torch.nan
    found = []
    for device in (torch.device("cpu"), torch.device("standin", 0)):
        top = TopSamples(200, lambda rows: torch.where(rows % 5 == 0, rows // 5, -1), 40, device)
        for number in range(2):
            for part in torch.arange(200).split(30):
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
