"""Ranks of more scores than are sorted at once equal those of one sort."""

import pytest
import torch

from ogacli.verdict import ranks as module
from ogacli.verdict.ranks import flag, ranking, ranks

N = 20_000


def scores(name: str) -> torch.Tensor:
    found = torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if name == "many equal":
        return torch.where(found < 0.6, 0.25, found)
    if name == "few values":
        return (found * 5).floor()
    if name == "some unknown":
        return found.masked_fill(found < 0.3, torch.nan)
    if name == "none known":
        return torch.full((N,), torch.nan)
    return found


@pytest.mark.parametrize("name", ["all differ", "many equal", "few values", "some unknown", "none known"])
def test_parts_are_ordered_as_the_whole(monkeypatch, name):
    given = scores(name)
    known = N - int(given.isnan().sum())
    expected = torch.zeros(N, dtype=torch.int64)
    expected[ranking(given)[:known]] = torch.arange(1, known + 1)
    monkeypatch.setattr(module, "TOGETHER", 1000)
    assert torch.equal(ranks(given), expected)
    for count in (0, 1, 777, known, N):
        assert torch.equal(flag(given, count), (expected > 0) & (expected <= count))
